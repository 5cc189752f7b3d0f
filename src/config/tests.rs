//! Whole files: what each kind of mistake is told, and that the shipped file says the truth about defaults.

use std::fmt::Write as _;
use std::fs;

use proptest::prelude::*;
use secrecy::ExposeSecret;
use sha2::{Digest as _, Sha256};

use super::*;

const SHIPPED: &str = include_str!("../../config.toml");

/// The least that is accepted; tests append to it.
pub(super) const MINIMAL: &str = "[[upstreams]]\nname = \"u\"\nbase_url = \"http://127.0.0.1:1/v1\"\n";

pub(super) fn env() -> Env {
    Env::of([
        ("OPENAI_API_KEY", "sk-upstream-canary"),
        ("GROQ_API_KEY", "gsk-upstream-canary"),
        ("ANTHROPIC_API_KEY", "sk-ant-upstream-canary"),
        ("AZURE_OPENAI_API_KEY", "azure-upstream-canary"),
        ("MILLSTREAM_KEY_TEAM_A", "sk-virtual-canary-0001"),
        ("SAME", "sk-virtual-canary-0001"),
        ("SHORT", "sk-canary"),
        ("BLANK", "sk-canary with a blank"),
        ("EMPTY", ""),
        ("WORKERS", "3"),
        ("WHERE", "10.0.0.1:80"),
    ])
}

#[track_caller]
pub(super) fn accept(text: &str) -> Config {
    match parse(text, "config.toml", &env()) {
        Ok(config) => config,
        Err(problems) => panic!("{text}\n{problems:#?}"),
    }
}

/// Checks that exactly `expected` is said about `text`.
#[track_caller]
pub(super) fn refuse(text: &str, expected: &[&str]) {
    let problems = parse(text, "config.toml", &env()).expect_err("this was accepted");
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(lines, expected, "\n{text}");
    assert!(!format!("{problems:?}").contains("canary"), "a secret is told: {problems:?}");
}

#[track_caller]
pub(super) fn refuse_after_minimal(text: &str, expected: &[&str]) {
    refuse(&format!("{MINIMAL}{text}"), expected);
}

#[test]
fn the_excerpt_in_the_readme_and_the_files_in_deploy_are_accepted() {
    let (_, rest) = include_str!("../../README.md").split_once("```toml\n").expect("an excerpt");
    let (excerpt, _) = rest.split_once("```").expect("its end");
    let compose = include_str!("../../deploy/compose/config.toml");
    let env = Env::of([
        ("OPENAI_API_KEY", "sk-upstream-canary"),
        ("TEAM_A_KEY", "sk-virtual-canary-0001"),
        ("MILLSTREAM_KEY", "sk-virtual-canary-0002"),
    ]);
    for text in [excerpt, compose] {
        assert_eq!(parse(text, "config.toml", &env).err(), None, "{text}");
    }
}

#[test]
fn the_least_file_is_accepted_and_routes_everything_to_its_upstream() {
    let config = accept(MINIMAL);
    assert_eq!(config.routes.len(), 1);
    assert_eq!((config.routes[0].model.as_str(), config.routes[0].tiers[0][0].upstream), ("*", 0));
    let default_route = config.default_route.as_ref().expect("a default route");
    assert_eq!(default_route.tiers[0][0].upstream, 0);
    assert_eq!(config.upstreams[0].base.to_string(), "http://127.0.0.1:1/v1");
    assert_eq!(config.upstreams[0].kind, UpstreamKind::OpenAi);
    assert!(config.keys.is_empty());
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_name() {
    refuse(
        "[[upstreams]]\nname = \"u\"\nkind = \"demo\"\nprotocl = \"http2\"\n[sever]\n[server]\n  colour = 1\n[server.tsl]\n",
        &[
            "config.toml:4:1: upstreams[0].protocl: unknown key; did you mean \"protocol\"?",
            "config.toml:5:2: sever: unknown key; did you mean \"server\"?",
            "config.toml:7:3: server.colour: unknown key; known are listen, open, workers, pin, reactor, tick, \
             connections_max, in_flight_max, header_timeout, body_timeout, idle_timeout, header_bytes_max, \
             headers_max, body_bytes_max, h2_streams_max, send_buffer, realtime, tls",
            "config.toml:8:9: server.tsl: unknown key; did you mean \"tls\"?",
        ],
    );
}

#[test]
fn a_secret_in_the_file_is_not_repeated() {
    refuse(
        "[[upstreams]]\nname = \"u\"\nbase_url = \"http://me:canary@h/v1\"\nkey = \"sk-canary\"\n\
         [[keys]]\nname = \"k\"\nsha256 = \"sk-canary\"\n[[keys]]\nname = \"l\"\nkey_env = \"sk-canary\"\n\
         [[keys]]\nname = \"m\"\nkey_env = \"gsk_canary\"\n[[keys]]\nname = \"n\"\nkey_file = \"sk-canary\"\n",
        &[
            "config.toml:3:12: upstreams[0].base_url: it must not have a user or password: write key_env or \
             key_file; write such as \"https://api.openai.com/v1\"",
            "config.toml:4:1: upstreams[0].key: unknown key; secrets stay out of this file: \
             write key_env = \"NAME\" or key_file = \"/path\"",
            "config.toml:7:10: keys[0].sha256: not a digest of 64 hexadecimal digits; \
             make one with: printf %s \"$KEY\" | sha256sum",
            "config.toml:10:11: keys[1].key_env: not the name of an environment variable; \
             write the variable's name, not the key: key_env = \"OPENAI_API_KEY\"",
            "config.toml:13:11: keys[2].key_env: the environment variable named here is not set",
            "config.toml:16:12: keys[3].key_file: the file cannot be read: No such file or directory (os error 2)",
        ],
    );
}

#[test]
fn a_secret_with_a_dollar_or_of_another_type_is_not_repeated_either() {
    refuse(
        "[[upstreams]]\nname = \"u\"\nbase_url = \"http://me:canary$@h/v1\"\nkey_env = \"sk$canary\"\n\
         [[keys]]\nname = \"k\"\nkey_file = [\"canary\"]\n",
        &[
            "config.toml:3:12: upstreams[0].base_url: a lone \"$\" means nothing; \
             write ${NAME} for a variable or $$ for a dollar",
            "config.toml:4:11: upstreams[0].key_env: a lone \"$\" means nothing; \
             write ${NAME} for a variable or $$ for a dollar",
            "config.toml:7:12: keys[0].key_file: expected a string",
        ],
    );
}

#[test]
fn values_of_the_wrong_type_or_out_of_bounds_are_all_told() {
    refuse_after_minimal(
        "[server]\nworkers = \"many\"\npin = 1\nin_flight_max = -1\nheader_timeout = 30\nbody_timeout = \"soon\"\n\
         idle_timeout = \"0s\"\nheader_bytes_max = \"1KiB\"\nheaders_max = 1.5\nbody_bytes_max = \"big\"\n\
         send_buffer = \"1TiB\"\nlisten = 8080\n[stream]\nkeep_alive = \"of\"\n[log]\nformat = \"xml\"\n\
         filter = \"a=b=c\"\n[demo]\ntokens_per_second = nan\n[drain]\ndelay = true\n",
        &[
            "config.toml:5:11: server.workers = \"many\": not a whole number; write 1 to 1024, or \"auto\"",
            "config.toml:6:7: server.pin = 1: not a flag; write true or false",
            "config.toml:7:17: server.in_flight_max = -1: not a whole number in bounds; write 1 to 1000000",
            "config.toml:8:18: server.header_timeout = 30: a duration needs a unit; write \"100ms\" to \"5m\"",
            "config.toml:9:16: server.body_timeout = \"soon\": not a duration such as \"30s\"; \
             write \"100ms\" to \"1h\"",
            "config.toml:10:16: server.idle_timeout = \"0s\": out of bounds; write \"100ms\" to \"1day\"",
            "config.toml:11:20: server.header_bytes_max = \"1KiB\": out of bounds; write \"8KiB\" to \"1MiB\"",
            "config.toml:12:15: server.headers_max = 1.5: not a whole number in bounds; write 16 to 1000",
            "config.toml:13:18: server.body_bytes_max = \"big\": not a size such as \"64KiB\"; \
             write \"1KiB\" to \"1GiB\"",
            "config.toml:14:15: server.send_buffer = \"1TiB\": out of bounds; write \"4KiB\" to \"16MiB\"",
            "config.toml:15:10: server.listen = 8080: expected a string",
            "config.toml:17:14: stream.keep_alive = \"of\": not a duration such as \"30s\"; \
             write \"100ms\" to \"1h\", or \"off\"",
            "config.toml:19:10: log.format = \"xml\": not one of the choices; write \"auto\" or \"text\" or \"json\"",
            "config.toml:20:10: log.filter = \"a=b=c\": not a log filter: error parsing level filter: \
             expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5; write \"info\" or \"info,millstream=debug\"",
            "config.toml:22:21: demo.tokens_per_second = nan: not a number in bounds; write 0.1 to 100000",
            "config.toml:24:9: drain.delay = true: not a duration such as \"30s\"; write \"0s\" to \"5m\"",
        ],
    );
}

#[test]
fn tables_in_the_wrong_form_are_told() {
    refuse(
        "server = 1\nkeys = [1]\n[upstreams]\nname = \"u\"\n",
        &[
            "config.toml: upstreams: there is none; add [[upstreams]] with a name, a base_url and a key_env, \
             or try: millstream demo",
            "config.toml:1:10: server: expected a table; write [server]",
            "config.toml:2:9: keys[0]: expected a table; write [[keys]]",
            "config.toml:3:1: upstreams: expected an array of tables; write [[upstreams]]",
        ],
    );
}

#[test]
fn dangling_and_doubled_names_are_told() {
    refuse(
        "[routing]\ndefault_upstream = \"opnai\"\n\
         [[upstreams]]\nname = \"openai\"\nkind = \"demo\"\n[[upstreams]]\nname = \"openai\"\nkind = \"demo\"\n\
         [[upstreams]]\nname = \"a b\"\nkind = \"demo\"\nbase_url = \"http://x\"\n[[upstreams]]\n\
         [[routes]]\nmodel = \"m\"\ntargets = [\"opena\", { upstream = \"x-very-other\" }, 1, {}]\n\
         [[routes]]\nmodel = \"m\"\ntargets = []\n[[routes]]\nmodel = \"a b\"\n",
        &[
            "config.toml:2:20: routing.default_upstream = \"opnai\": there is no such upstream; \
             did you mean \"openai\"?",
            "config.toml:7:8: upstreams[1].name = \"openai\": an earlier entry has the same name; \
             choose another name",
            "config.toml:10:8: upstreams[2].name = \"a b\": not a name; \
             write 1 to 64 letters, digits, \".\", \"_\" or \"-\"",
            "config.toml:12:12: upstreams[2].base_url: an upstream of kind \"demo\" takes none; remove it",
            "config.toml:13:1: upstreams[3].name: missing; write name = \"openai\"",
            "config.toml:13:1: upstreams[3].base_url: missing; write base_url = \"https://api.openai.com/v1\"",
            "config.toml:16:12: routes[0].targets[0] = \"opena\": there is no such upstream; \
             did you mean \"openai\"?",
            "config.toml:16:34: routes[0].targets[1].upstream = \"x-very-other\": there is no such upstream; \
             known are openai, openai",
            "config.toml:16:52: routes[0].targets[2]: expected a table; \
             write \"openai\" or { upstream = \"openai\", model = \"gpt-4.1\" }",
            "config.toml:16:55: routes[0].targets[3].upstream: missing; write upstream = \"openai\"",
            "config.toml:18:9: routes[1].model = \"m\": an earlier route has the same model; \
             put the targets of both into one route",
            "config.toml:19:11: routes[1].targets: a route with 0 targets; write 1 to 16 targets",
            "config.toml:20:1: routes[2].targets: missing; write targets = [\"openai\"]",
            "config.toml:21:9: routes[2].model = \"a b\": not the name of a model; \
             write 1 to 256 bytes without blanks, such as \"gpt-4.1\"",
        ],
    );
}

#[test]
fn keys_are_hashed_and_bad_ones_told() {
    let config = accept(&format!(
        "{MINIMAL}[[keys]]\nname = \"k\"\nkey_env = \"MILLSTREAM_KEY_TEAM_A\"\nmodels = [\"gpt-*\"]\nstreams = 5\n"
    ));
    assert_eq!(config.keys[0].sha256[..], Sha256::digest("sk-virtual-canary-0001")[..]);
    assert_eq!(config.keys[0].limits.streams, Some(5));
    assert!(!format!("{config:?}{}", config.summary()).contains("canary"));
    refuse_after_minimal(
        "[[keys]]\nname = \"a\"\nkey_env = \"MILLSTREAM_KEY_TEAM_A\"\nkey_file = \"x\"\n\
         [[keys]]\nname = \"b\"\nkey_env = \"SHORT\"\n[[keys]]\nname = \"c\"\nkey_env = \"EMPTY\"\n\
         [[keys]]\nname = \"d\"\nkey_env = \"BLANK\"\n[[keys]]\nname = \"e\"\nkey_env = \"NOT_SET\"\n\
         [[keys]]\nname = \"f\"\n[[keys]]\nname = \"g\"\nkey_env = \"MILLSTREAM_KEY_TEAM_A\"\n\
         [[keys]]\nname = \"h\"\nkey_env = \"SAME\"\nmodels = []\n",
        &[
            "config.toml:7:12: keys[0].key_file: a key has one source; remove the other source",
            "config.toml:10:11: keys[1].key_env: the key is shorter than 16 characters; \
             make one with: openssl rand -hex 24",
            "config.toml:13:11: keys[2].key_env: the key is empty",
            "config.toml:16:11: keys[3].key_env: the key holds blanks or characters that no HTTP header takes",
            "config.toml:19:11: keys[4].key_env: the environment variable NOT_SET is not set",
            "config.toml:20:1: keys[5]: the key has no source; \
             write key_env = \"NAME\", key_file = \"/path\" or sha256 = \"digest\"",
            "config.toml:27:11: keys[7].key_env: \"g\" has the same key; give each its own key",
            "config.toml:28:10: keys[7].models: an empty list allows no model; leave it out to allow every model",
        ],
    );
}

#[test]
fn an_address_that_others_reach_needs_keys_or_a_word() {
    let key = "[[keys]]\nname = \"k\"\nkey_env = \"MILLSTREAM_KEY_TEAM_A\"\n";
    refuse_after_minimal(
        "[server]\nlisten = [\"127.0.0.1:1\", \"${WHERE}\"]\n",
        &[
            "config.toml:5:26: server.listen[1] = \"${WHERE}\": whoever reaches this address could use the gateway, \
           for there are no [[keys]]; add one, or write server.open = true",
        ],
    );
    refuse_after_minimal(
        &format!("[server]\nopen = true\n{key}"),
        &["config.toml:5:8: server.open = true: keys are configured, so the gateway is not open; \
           remove it, or remove the [[keys]]"],
    );
    accept(&format!("{MINIMAL}[server]\nlisten = \"0.0.0.0:80\"\nopen = true\n"));
    accept(&format!("{MINIMAL}[server]\nlisten = \"0.0.0.0:80\"\n{key}"));
    accept(&format!("{MINIMAL}[server]\nlisten = [\"unix:/run/x.sock\", \"[::1]:80\", \"127.0.0.1:0\"]\n"));
}

#[test]
fn one_address_serves_one_listener() {
    refuse_after_minimal(
        "[server]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:1\", \"nowhere\"]\n[admin]\nlisten = \"127.0.0.1:1\"\n",
        &[
            "config.toml:5:26: server.listen[1] = \"127.0.0.1:1\": an earlier listener has the same address",
            "config.toml:5:41: server.listen[2] = \"nowhere\": \
             not an address such as 127.0.0.1:8080, [::1]:8080 or unix:/path.sock",
            "config.toml:7:10: admin.listen = \"127.0.0.1:1\": server.listen has the same address; \
             choose another port",
        ],
    );
}

#[test]
fn variables_fill_strings_and_numbers_but_not_structure() {
    let config = accept(&format!("{MINIMAL}[server]\nworkers = \"${{WORKERS}}\"\npin = \"${{PIN:-false}}\"\n"));
    assert_eq!((config.server.workers, config.server.pin), (Some(3), false));
    refuse_after_minimal(
        "[server]\nworkers = \"${NONE}\"\nheader_timeout = \"$X\"\nheaders_max = \"17\"\n",
        &[
            "config.toml:5:11: server.workers = \"${NONE}\": the environment variable NONE is not set; \
             set it, or write ${NONE:-default}",
            "config.toml:6:18: server.header_timeout = \"$X\": a lone \"$\" means nothing; \
             write ${NAME} for a variable or $$ for a dollar",
            "config.toml:7:15: server.headers_max = \"17\": not a whole number in bounds; write 16 to 1000",
        ],
    );
}

#[test]
fn the_reactor_and_its_tick_are_words_or_a_short_time() {
    for (written, tick) in [
        ("auto", Tick::Auto),
        ("off", Tick::Off),
        ("50us", Tick::Fixed(Duration::from_micros(50))),
        ("2ms", Tick::Fixed(Duration::from_millis(2))),
    ] {
        assert_eq!(accept(&format!("{MINIMAL}[server]\ntick = \"{written}\"\n")).server.tick, tick);
    }
    for (written, reactor) in
        [("auto", WantedReactor::Auto), ("io_uring", WantedReactor::IoUring), ("epoll", WantedReactor::Epoll)]
    {
        assert_eq!(accept(&format!("{MINIMAL}[server]\nreactor = \"{written}\"\n")).server.reactor, reactor);
    }
    refuse_after_minimal(
        "[server]\nreactor = \"kqueue\"\ntick = \"3ms\"\n",
        &[
            "config.toml:5:11: server.reactor = \"kqueue\": not one of the choices; \
             write \"auto\" or \"io_uring\" or \"epoll\"",
            "config.toml:6:8: server.tick = \"3ms\": out of bounds; \
             write \"50us\" to \"2ms\", \"auto\" or \"off\"",
        ],
    );
    for written in ["\"49us\"", "\"soon\"", "0", "true"] {
        let text = format!("{MINIMAL}[server]\ntick = {written}\n");
        assert_eq!(parse(&text, "x", &env()).expect_err(written).len(), 1);
    }
}

#[test]
fn text_that_is_no_toml_is_told_with_its_places() {
    let problems = parse("workers = \n[log]\nformat = 'x\n", "x.toml", &env()).expect_err("this was accepted");
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "x.toml:1:11: string values must be quoted, expected literal string",
            "x.toml:3:12: invalid literal string, expected `'`"
        ]
    );
    let problems = parse("a = 1\na = 2\n", "x.toml", &env()).expect_err("this was accepted");
    assert_eq!(problems[0].to_string(), "x.toml:2:1: duplicate key");
    let problem = load(Path::new("/nowhere/x.toml"), &env()).expect_err("this was accepted").remove(0);
    assert_eq!(problem.to_string(), "/nowhere/x.toml: cannot be read: No such file or directory (os error 2)");
}

#[test]
fn secrets_come_from_files_beside_the_configuration() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("a temporary file");
    file("up", "sk-upstream-canary\r\n");
    file("virtual", "sk-virtual-canary-0001\n");
    file("cert.pem", "-----BEGIN CERTIFICATE-----\n");
    file("empty", "\n");
    let text = format!(
        "{MINIMAL}key_file = \"up\"\nca_file = \"cert.pem\"\n[[keys]]\nname = \"k\"\nkey_file = \"virtual\"\n\
         [server.tls]\ncert = \"cert.pem\"\nkey = \"cert.pem\"\nmin_version = \"1.3\"\n"
    );
    file("config.toml", &text);
    let config = load(&directory.path().join("config.toml"), &env()).expect("a good file");
    assert_eq!(config.upstreams[0].keys[0].secret.expose_secret(), "sk-upstream-canary");
    assert_eq!(config.keys[0].sha256[..], Sha256::digest("sk-virtual-canary-0001")[..]);
    assert_eq!(config.server.tls.as_ref().map(|tls| tls.min_version), Some(TlsVersion::V1_3));
    assert!(!format!("{config:?}{}", config.summary()).contains("canary"));

    file("config.toml", &text.replace("\"virtual\"", "\"empty\"").replace("cert = \"cert.pem\"", "cert = \"up\""));
    let problems = load(&directory.path().join("config.toml"), &env()).expect_err("this was accepted");
    let told: Vec<&str> = problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(told, ["the key is empty", "the file holds no PEM block"]);
}

#[test]
fn keys_in_the_environment_make_upstreams() {
    assert!(from_env(&Env::of([("OPENAI_API_KEY", "")])).is_none());
    let one = from_env(&Env::of([("GROQ_API_KEY", "gsk-canary")])).expect("a key").expect("a good key");
    assert_eq!((one.upstreams[0].name.as_str(), one.routes.len()), ("groq", 1));

    let env = Env::of([
        ("XAI_API_KEY", "xai-canary"),
        ("OPENAI_API_KEY", "sk-canary"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    ]);
    let two = from_env(&env).expect("keys").expect("good keys");
    assert_eq!(two.upstreams[0].base.port, 8000);
    let routes: Vec<(&str, usize)> =
        two.routes.iter().map(|route| (route.model.as_str(), route.tiers[0][0].upstream)).collect();
    assert!(routes.contains(&("grok-*", 1)) && routes.ends_with(&[("*", 0)]), "{routes:?}");

    let all = Env::of([
        ("OPENAI_API_KEY", "k"),
        ("GROQ_API_KEY", "k"),
        ("DEEPSEEK_API_KEY", "k"),
        ("MISTRAL_API_KEY", "k"),
        ("TOGETHER_API_KEY", "k"),
        ("OPENROUTER_API_KEY", "k"),
        ("XAI_API_KEY", "k"),
        ("FIREWORKS_API_KEY", "k"),
    ]);
    assert_eq!(from_env(&all).expect("keys").expect("good keys").upstreams.len(), 8);

    let env = Env::of([("OPENAI_API_KEY", "sk-canary"), ("OPENAI_BASE_URL", "nowhere/canary")]);
    let problems = from_env(&env).expect("a key").expect_err("this was accepted");
    assert!(!format!("{problems:?}").contains("canary"), "{problems:?}");
}

#[test]
fn the_demo_needs_nothing() {
    let config = demo();
    assert_eq!(config.drain.delay, Duration::ZERO);
    assert_eq!(config.upstreams[0].base, BaseUrl::placeholder());
    assert_eq!(config.routes.iter().map(|route| route.model.as_str()).collect::<Vec<_>>(), ["demo", "*"]);
}

#[test]
fn the_summary_of_a_configuration_is_that_configuration() {
    let text = format!(
        "{MINIMAL}[[upstreams]]\nname = \"d\"\nkind = \"demo\"\nprotocol = \"http2\"\n[[routes]]\nmodel = \"a$$b\"\n\
         targets = [\"d\", {{ upstream = \"u\", model = \"x\" }}]\n[server]\nlisten = [\"0.0.0.0:1\"]\nopen = true\n\
         workers = 2\nsend_buffer = 5001\nreactor = \"io_uring\"\ntick = \"250us\"\n[stream]\ntotal_timeout = \"1h 2m 3s\"\n[limits]\nstreams = 7\n\
         [admin]\nlisten = \"off\"\n[routing]\ndefault_upstream = \"d\"\n[log]\nformat = \"text\"\n"
    );
    let off = accept(&format!("{MINIMAL}[server]\nreactor = \"epoll\"\ntick = \"off\"\n"));
    for config in [accept(MINIMAL), accept(&text), accept(tests_routes::RICH), off, demo()] {
        let again = accept(&config.summary().to_string());
        assert_eq!(format!("{again:?}"), format!("{config:?}"));
    }
}

/// The shipped file with its settings uncommented: `#key`, unlike `# words`. Examples only on demand.
fn uncommented(with_examples: bool) -> String {
    let mut text = String::new();
    let mut example = false;
    for line in SHIPPED.lines() {
        example = (example || line.starts_with("# example:begin")) && !line.starts_with("# example:end");
        let is_setting = |rest: &&str| {
            rest.starts_with(|c: char| c.is_ascii_lowercase() || matches!(c, '[' | ']')) || rest.starts_with("  [")
        };
        let setting = line.strip_prefix('#').filter(is_setting);
        let line = setting.filter(|_| with_examples || !example).unwrap_or(line);
        writeln!(text, "{line}").expect("a String takes everything");
    }
    text
}

#[test]
fn the_shipped_file_runs_and_its_comments_are_the_defaults() {
    let shipped = accept(SHIPPED);
    assert_eq!(shipped.upstreams[0].kind, UpstreamKind::Demo);
    assert_ne!(uncommented(false), SHIPPED);
    assert_eq!(format!("{:?}", accept(&uncommented(false))), format!("{shipped:?}"));
    let bare = accept("[[upstreams]]\nname = \"demo\"\nkind = \"demo\"\n");
    assert_eq!(format!("{bare:?}"), format!("{shipped:?}"));
}

#[test]
fn the_examples_of_the_shipped_file_lack_only_their_files() {
    let problems = parse(&uncommented(true), "config.toml", &env()).expect_err("files that do not exist");
    assert_eq!(problems.len(), 6, "{problems:#?}");
    assert!(problems.iter().all(|problem| problem.what.contains("cannot be read")), "{problems:#?}");
}

#[test]
fn the_shipped_file_names_every_key() {
    let sections = [
        "",
        "[server]",
        "[server.realtime]",
        "[server.tls]",
        "[stream]",
        "[limits]",
        "[[keys]]",
        "[[upstreams]]",
        "[[routes]]",
        "[routes.retry]",
        "[routes.hedge]",
        "[routes.defaults]",
        "[routing]",
        "[[models]]",
        "[retry]",
        "[health]",
        "[admin]",
        "[drain]",
        "[log]",
        "[demo]",
    ];
    let everything = uncommented(true);
    for section in sections {
        let above = if section.starts_with("[routes.") { "[[routes]]\n" } else { "" };
        let text = format!("{above}{section}\nnothing-like-this = 1\n");
        let problems = parse(&text, "x", &env()).expect_err(section);
        let unknown = problems.iter().find(|problem| problem.what == "unknown key").expect(section);
        // A section with one key only proposes it where it is near, and lists it otherwise.
        let known = unknown.remedy.strip_prefix("known are ").expect(section);
        for key in known.split(", ") {
            let headers = ["[", "[[", "[server.", "[routes."].map(|open| format!("\n{open}{key}]"));
            let of_section = everything.split(section).skip(usize::from(!section.is_empty()));
            let named = of_section
                .map(|rest| rest.split("\n[").next().unwrap_or(rest))
                .any(|rest| rest.lines().any(|line| line.starts_with(&format!("{key} = "))));
            assert!(named || headers.iter().any(|header| everything.contains(header.as_str())), "{section} {key}");
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*") {
        drop(parse(&text, "x", &env()));
    }

    #[test]
    fn no_broken_piece_of_the_shipped_file_makes_the_reader_panic(
        cut in 0usize..24_000,
        length in 0usize..60,
        patch in "[\\[\\]{}=\"'#$a-z0-9\\n.,-]{0,12}",
    ) {
        let whole = uncommented(true);
        let cut = whole.floor_char_boundary(cut.min(whole.len()));
        let end = whole.floor_char_boundary((cut + length).min(whole.len()));
        let broken = format!("{}{patch}{}", &whole[..cut], &whole[end..]);
        if let Err(problems) = parse(&broken, "x", &env()) {
            prop_assert!(!problems.is_empty());
            let told = problems.iter().map(ToString::to_string).collect::<String>();
            prop_assert!(!told.contains("canary"), "{told}");
        }
    }

    #[test]
    fn no_value_makes_the_reader_panic(
        section in prop::sample::select(vec!["server", "stream", "limits", "admin", "drain", "log", "demo"]),
        key in prop::sample::select(vec!["listen", "workers", "idle_timeout", "streams", "delay", "seed", "send_buffer"]),
        value in "\"[^\"\\\\\\n]{0,20}\"|-?[0-9]{1,25}|[0-9]+\\.[0-9]+|\\[\\]|\\{\\}|true|0x[0-9a-f]{1,20}",
    ) {
        drop(parse(&format!("{MINIMAL}[{section}]\n{key} = {value}\n"), "x", &env()));
    }
}
