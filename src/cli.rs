//! The command line. The only room that prints.
//!
//! Exit codes: 0, 1 for a failure, 2 for a command line that means nothing, 78 (`EX_CONFIG`) for a
//! configuration that was refused at start.

#![expect(clippy::print_stderr, reason = "this is the room that talks to people")]

use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::app;
use crate::config::{self, Address, Config, DemoSettings, Env, LogFormat, Problem};

/// The complete configuration file, commented.
const CONFIG_FILE: &str = include_str!("../config.toml");
/// Names the configuration file where `--config` does not.
const CONFIG_VARIABLE: &str = "MILLSTREAM_CONFIG";
/// `EX_CONFIG` of `sysexits.h`: starting again with the same file is of no use.
const REFUSED: u8 = 78;
/// Bound of each step of a health check: connect, send, receive. An orchestrator's probe waits little longer.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// The version, with the revision where the build knew it.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let revision = option_env!("MILLSTREAM_REVISION").filter(|revision| !revision.is_empty());
    let version = env!("CARGO_PKG_VERSION");
    revision.map_or_else(|| version.to_owned(), |revision| format!("{version} ({revision})"))
});

/// A gateway for LLM streams.
#[derive(Debug, Parser)]
#[command(name = "millstream", version = VERSION.as_str(), after_help = AFTER_HELP)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    source: Source,
    /// Form of log lines, instead of the configured one.
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<Format>,
    #[arg(help = "Log filter such as info or info,millstream=debug, instead of the configured one", long, global = true, value_name = "FILTER", value_parser = log_filter)]
    log: Option<String>,
}

const AFTER_HELP: &str = "Without a command: serve. Without a configuration file: the providers whose keys are in \
the environment\n(OPENAI_API_KEY and others), or else the demo, which needs no key and no network.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (the default).
    Serve(Source),
    /// Run the gateway with a demo upstream inside: no file, no key, no network.
    Demo(Demo),
    /// Print every problem of the configuration, or what it amounts to, with secrets left out.
    Check(Source),
    /// Write the commented configuration file.
    Init(Init),
    /// Ask a running gateway whether it is ready; exit code 0 if so.
    Healthcheck(Healthcheck),
    /// Print a completion script.
    Completions {
        /// The shell it is for.
        shell: Shell,
    },
}

#[derive(Args, Clone, Debug)]
struct Source {
    #[arg(help = "Configuration file; MILLSTREAM_CONFIG names it too", short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Demo {
    #[arg(
        help = "Where clients connect: 127.0.0.1:8080, [::1]:8080 or unix:/path.sock",
        long,
        value_name = "ADDRESS"
    )]
    listen: Option<Address>,
    #[arg(help = "Where metrics and health are served: an address, or off", long, value_name = "ADDRESS", value_parser = admin_address)]
    admin_listen: Option<Admin>,
    /// Worker threads.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Tokens per second of one stream.
    #[arg(long, value_name = "TOKENS", value_parser = pace)]
    pace: Option<f64>,
    /// The same seed gives the same answers.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Args, Debug)]
struct Init {
    #[arg(help = "Where to write, or - for the standard output", default_value = "config.toml")]
    path: PathBuf,
    /// Replace a file that exists.
    #[arg(long)]
    force: bool,
}

#[derive(Args, Debug)]
struct Healthcheck {
    /// The admin listener.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: String,
}

/// `--admin-listen`: an address, or `None` for `off`.
#[derive(Clone, Copy, Debug)]
struct Admin(Option<SocketAddr>);

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Where a running configuration came from, for the first line.
#[derive(Debug)]
enum Start {
    File(PathBuf),
    Environment,
    Demo,
    /// The demo, because there was nothing else.
    Fallback,
}

/// Why nothing ran.
enum Failure {
    /// The command line means nothing, in clap's words; or its help was asked for.
    Usage(clap::Error),
    /// The configuration has problems, and the exit code that says so to this command.
    Refused(Vec<Problem>, u8),
    /// Everything else.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs the command line to its end.
pub fn main() -> ExitCode {
    let env = Env::process();
    let result = CommandLine::try_parse().map_err(Failure::Usage).and_then(|line| execute(line, &env));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(error)) => {
            // Nothing is left to tell where the terminal is gone.
            drop(error.print());
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
        Err(Failure::Refused(problems, code)) => {
            for problem in &problems {
                eprintln!("{problem}");
            }
            let count = problems.len();
            eprintln!("millstream: {count} problem{} in the configuration", if count == 1 { "" } else { "s" });
            ExitCode::from(code)
        }
        Err(Failure::Failed(error)) => {
            eprintln!("millstream: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(line: CommandLine, env: &Env) -> Result<(), Failure> {
    let CommandLine { command, source: outer, log_format, log } = line;
    let overrides = |config: &mut Config| {
        if let Some(format) = log_format {
            config.log.format = match format {
                Format::Text => LogFormat::Text,
                Format::Json => LogFormat::Json,
            };
        }
        if let Some(filter) = log {
            config.log.filter = filter;
        }
    };
    let takes_file = matches!(command, None | Some(Command::Serve(_) | Command::Check(_)));
    if outer.config.is_some() && !takes_file {
        let mut usage = CommandLine::command();
        let error = usage.error(ErrorKind::ArgumentConflict, "this command takes no --config");
        return Err(Failure::Usage(error));
    }
    match command {
        None => serve(outer, overrides, env),
        Some(Command::Serve(inner)) => serve(inner.or(outer), overrides, env),
        Some(Command::Check(inner)) => check(inner.or(outer), overrides, env),
        Some(Command::Demo(options)) => {
            let mut config = options.configure();
            overrides(&mut config);
            run(config, &Start::Demo, env)
        }
        Some(Command::Init(init)) => Ok(init.write()?),
        Some(Command::Healthcheck(Healthcheck { admin })) => Ok(healthcheck(&admin)?),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "millstream", &mut script);
            Ok(print(&String::from_utf8_lossy(&script))?)
        }
    }
}

impl Source {
    /// This file, or else `outer`'s: `-c` may stand before or after the command.
    fn or(self, outer: Self) -> Self {
        Self { config: self.config.or(outer.config) }
    }

    /// The named file; without one the keys in the environment; without those the demo.
    fn load(self, env: &Env) -> Result<(Config, Start), Vec<Problem>> {
        let variable = || env.get(CONFIG_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        if let Some(path) = self.config.or_else(variable) {
            return Ok((config::load(&path, env)?, Start::File(path)));
        }
        match config::from_env(env) {
            Some(config) => Ok((config?, Start::Environment)),
            None => Ok((config::demo(), Start::Fallback)),
        }
    }
}

fn serve(source: Source, overrides: impl FnOnce(&mut Config), env: &Env) -> Result<(), Failure> {
    let (mut config, start) = source.load(env).map_err(|problems| Failure::Refused(problems, REFUSED))?;
    overrides(&mut config);
    run(config, &start, env)
}

fn check(source: Source, overrides: impl FnOnce(&mut Config), env: &Env) -> Result<(), Failure> {
    let (mut config, start) = source.load(env).map_err(|problems| Failure::Refused(problems, 1))?;
    overrides(&mut config);
    print(&format!("# {}\n{}", start.sentence(), config.summary()))?;
    for difference in config.differences() {
        eprintln!("warning: {difference}");
    }
    Ok(())
}

/// Says what runs, and runs it to its end.
fn run(config: Config, start: &Start, env: &Env) -> Result<(), Failure> {
    eprintln!("millstream {}: {}", *VERSION, start.sentence());
    let guide = matches!(start, Start::Demo | Start::Fallback);
    let no_color = env.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    app::run(config, no_color, |started| {
        let mut lines = String::new();
        for url in &started.listening {
            writeln!(lines, "listening {url}").expect("a string takes all");
        }
        if let Some(url) = &started.admin {
            writeln!(lines, "admin {url}").expect("a string takes all");
        }
        if guide && let Some(url) = started.listening.first() {
            lines.push_str(&first_steps(url));
        }
        lines.push_str("ready\n");
        // Whoever started it may have closed its end; the gateway runs all the same.
        drop(print(&lines));
    })?;
    Ok(())
}

/// What to do with a demo.
fn first_steps(url: &str) -> String {
    format!(
        "\ntry it:\n  \
         curl -N {url}/v1/chat/completions -H 'content-type: application/json' \\\n    \
         -d '{{\"model\":\"demo\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"Tell me about mills\"}}]}}'\n\n\
         or with an SDK:\n  base_url=\"{url}/v1\"  (any API key, any model name)\n\n"
    )
}

impl Start {
    fn sentence(&self) -> String {
        match self {
            Self::File(path) => format!("configuration from {}", path.display()),
            Self::Environment => "no configuration file; upstreams from the keys in the environment".to_owned(),
            Self::Demo => "the demo".to_owned(),
            Self::Fallback => {
                "no configuration file and no provider's key in the environment; this is the demo".to_owned()
            }
        }
    }
}

impl Demo {
    /// The demo's configuration with these options.
    fn configure(self) -> Config {
        let mut config = config::demo();
        if let Some(listen) = self.listen {
            config.server.listen = vec![listen];
        }
        if let Some(Admin(listen)) = self.admin_listen {
            config.admin.listen = listen;
        }
        config.server.workers = self.workers.map(usize::from);
        config.demo.tokens_per_second = self.pace.unwrap_or(config.demo.tokens_per_second);
        config.demo.seed = self.seed.unwrap_or(config.demo.seed);
        config
    }
}

impl Init {
    fn write(&self) -> anyhow::Result<()> {
        if self.path == Path::new("-") {
            return Ok(print(CONFIG_FILE)?);
        }
        let shown = self.path.display();
        if self.force {
            fs::write(&self.path, CONFIG_FILE).with_context(|| format!("{shown} cannot be written"))?;
        } else {
            match File::create_new(&self.path) {
                Ok(mut file) => {
                    file.write_all(CONFIG_FILE.as_bytes())
                        .with_context(|| format!("{shown} cannot be written"))?;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    bail!("{shown} exists; --force replaces it");
                }
                Err(error) => return Err(error).with_context(|| format!("{shown} cannot be written")),
            }
        }
        Ok(print(&format!("wrote {shown}; next: millstream check -c {shown}\n"))?)
    }
}

/// Asks `/readyz` of the admin listener at `url`; its first address that answers counts.
fn healthcheck(url: &str) -> anyhow::Result<()> {
    let authority = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    if authority.contains('/') {
        bail!("{url} is not such as http://127.0.0.1:9090");
    }
    let addresses =
        authority.to_socket_addrs().with_context(|| format!("{url} is not such as http://127.0.0.1:9090"))?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, HEALTH_TIMEOUT) {
            Ok(connection) => {
                return match readiness(connection, authority).with_context(|| format!("no answer from {url}"))? {
                    status if status == *b"200" => Ok(()),
                    status => bail!("not ready: {url}/readyz answers {}", status.escape_ascii()),
                };
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error).with_context(|| format!("nothing listens at {url}")),
        None => bail!("{url} has no address"),
    }
}

/// The three digits of the status of `/readyz`.
fn readiness(mut connection: TcpStream, authority: &str) -> io::Result<[u8; 3]> {
    connection.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    connection.set_write_timeout(Some(HEALTH_TIMEOUT))?;
    // In one piece: one that answers the first and closes would make the next fail.
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut head = [0; 12];
    connection.read_exact(&mut head)?;
    match head {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', status @ ..] => Ok(status),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "this is not HTTP/1.1")),
    }
}

/// Prints `text` as it is. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn log_filter(text: &str) -> Result<String, String> {
    config::check_log_filter(text).map(|()| text.to_owned())
}

fn admin_address(text: &str) -> Result<Admin, Box<dyn Error + Send + Sync>> {
    Ok(Admin(if text == "off" { None } else { Some(text.parse()?) }))
}

fn pace(text: &str) -> Result<f64, String> {
    const ACCEPTED: RangeInclusive<f64> = DemoSettings::TOKENS_PER_SECOND;
    let pace: Option<f64> = text.parse().ok().filter(|pace| ACCEPTED.contains(pace));
    pace.ok_or_else(|| format!("write {} to {}", ACCEPTED.start(), ACCEPTED.end()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn parse(line: &[&str]) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from([&["millstream"], line].concat())
    }

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn lines_mean_something_or_are_usage_errors() {
        for line in [
            &[][..],
            &["-c", "x.toml"],
            &["serve", "--config", "x.toml", "--log", "debug", "--log-format", "json"],
            &["--log-format", "text", "demo", "--listen", "[::1]:0", "--admin-listen", "off", "--pace", "2.5"],
            &["demo", "--listen", "unix:/x", "--workers", "2", "--seed", "7"],
            &["-c", "x.toml", "check"],
            &["init", "--force", "-"],
            &["healthcheck", "--admin", "http://[::1]:9090"],
            &["completions", "bash"],
        ] {
            assert!(parse(line).is_ok(), "{line:?}");
        }
        for line in [
            &["surf"][..],
            &["demo", "-c", "x.toml"],
            &["demo", "--listen", "nowhere"],
            &["demo", "--workers", "0"],
            &["demo", "--pace", "nan"],
            &["demo", "--pace", "0"],
            &["serve", "--log", "a=b=c"],
            &["serve", "--log-format", "xml"],
        ] {
            assert_eq!(parse(line).expect_err("accepted").exit_code(), 2, "{line:?}");
        }
    }

    #[test]
    fn a_file_goes_before_the_environment_and_that_before_the_demo() {
        let none = || Source { config: None };
        let load = |source: Source, env: &Env| source.load(env).map(|(_, start)| start);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("config.toml");
        Init { path: path.clone(), force: false }.write().expect("a new file");
        assert!(matches!(load(none(), &Env::of([])), Ok(Start::Fallback)));
        assert!(matches!(load(none(), &Env::of([("OPENAI_API_KEY", "k")])), Ok(Start::Environment)));
        let variable = Env::of([("OPENAI_API_KEY", "k"), (CONFIG_VARIABLE, path.to_str().expect("UTF-8"))]);
        assert!(matches!(load(none(), &variable), Ok(Start::File(_))));
        let missing = Source { config: Some(directory.path().join("none.toml")) };
        assert_eq!(load(missing, &variable).expect_err("no such file").len(), 1);
    }

    #[test]
    fn init_replaces_a_file_only_by_force() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("config.toml");
        fs::write(&path, "mine").expect("a temporary file");
        let refusal = Init { path: path.clone(), force: false }.write().expect_err("replaced");
        assert!(refusal.to_string().ends_with("exists; --force replaces it"), "{refusal}");
        assert_eq!(fs::read_to_string(&path).expect("the file"), "mine");
        Init { path: path.clone(), force: true }.write().expect("by force");
        assert_eq!(fs::read_to_string(&path).expect("the file"), CONFIG_FILE);
    }

    #[test]
    fn demo_options_change_the_demo() {
        let line =
            parse(&["demo", "--listen", "127.0.0.1:1", "--admin-listen", "off", "--pace", "9", "--seed", "3"]);
        let Some(Command::Demo(demo)) = line.expect("a good line").command else { panic!("another command") };
        let config = demo.configure();
        assert_eq!(config.server.listen[0].to_string(), "127.0.0.1:1");
        assert_eq!((config.admin.listen, config.demo.seed, config.server.workers), (None, 3, None));
        assert!((config.demo.tokens_per_second - 9.0).abs() < f64::EPSILON);
    }

    /// What a health check says of a listener that sends `answer`.
    fn check_health(host: &str, answer: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind((host, 0)).expect("a loopback port");
        let address = listener.local_addr().expect("an address");
        let server = thread::spawn(move || {
            let (mut connection, _) = listener.accept().expect("a connection");
            let mut request = [0; 1024];
            let length = connection.read(&mut request).expect("a request");
            connection.write_all(answer.as_bytes()).expect("an answer taken");
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let result = healthcheck(&format!("http://{address}/")).map_err(|error| format!("{error:#}"));
        let request = server.join().expect("a server");
        assert!(request.starts_with("GET /readyz HTTP/1.1\r\nhost: "), "{request}");
        result
    }

    #[test]
    fn health_is_status_200() {
        assert_eq!(check_health("127.0.0.1", "HTTP/1.1 200 OK\r\n\r\n"), Ok(()));
        let refusal = check_health("127.0.0.1", "HTTP/1.1 503 Service Unavailable\r\n\r\n").expect_err("healthy");
        assert!(refusal.starts_with("not ready") && refusal.ends_with("503"), "{refusal}");
        let refusal = check_health("127.0.0.1", "SSH-2.0-OpenSSH\r\n").expect_err("healthy");
        assert!(refusal.ends_with("this is not HTTP/1.1"), "{refusal}");
        check_health("127.0.0.1", "HTTP").expect_err("healthy");
        for url in ["", "http://", "nowhere", "http://127.0.0.1:1/x"] {
            healthcheck(url).expect_err(url);
        }
    }
}
