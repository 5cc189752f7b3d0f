//! Addresses to listen on and URLs to send to, from text and back.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::Uri;

use super::{Address, BaseUrl};

/// Bytes of a Unix socket's path that the kernel takes (`sun_path` less its final zero).
const UNIX_PATH_MAX: usize = 107;

impl FromStr for Address {
    type Err = String;

    /// Reads `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/millstream.sock`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_path(path).map(Self::Unix);
        }
        match text.parse() {
            Ok(address) => Ok(Self::Tcp(address)),
            Err(_) if text.starts_with("localhost:") => {
                Err("an address is wanted, not a name: write 127.0.0.1 or [::1] for localhost".to_owned())
            }
            Err(_) => Err("not an address such as 127.0.0.1:8080, [::1]:8080 or unix:/path.sock".to_owned()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// Whether other machines can connect to it.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self, Self::Tcp(address) if !is_loopback(*address))
    }
}

impl BaseUrl {
    /// Stands for the demo upstream until its port is known.
    pub(super) fn placeholder() -> Self {
        Self { tls: false, host: "127.0.0.1".to_owned(), port: 0, unix: None, path: "/v1".to_owned() }
    }

    /// What stands in the `host` header of requests to it.
    pub fn authority(&self) -> String {
        let name = match self.host.as_str() {
            // A Unix socket has no name, but HTTP/1.1 wants one.
            "" => "localhost".to_owned(),
            literal if literal.contains(':') => format!("[{literal}]"),
            name => name.to_owned(),
        };
        let usual_port = if self.tls { 443 } else { 80 };
        if self.unix.is_some() || self.port == usual_port { name } else { format!("{name}:{}", self.port) }
    }

    /// What stands in the request line of a request for this below its base path.
    pub fn target(&self, path_and_query: &str) -> String {
        let slash = if self.path.is_empty() && !path_and_query.starts_with('/') { "/" } else { "" };
        format!("{slash}{}{path_and_query}", self.path)
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    /// Reads `https://host/v1`, `http://host:8000/v1` or `unix:/path.sock:/v1`.
    ///
    /// The error never repeats the text, which may hold a password.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("unix:") {
            let (socket, path) = rest.rsplit_once(":/").unwrap_or((rest, ""));
            let path = if path.is_empty() { String::new() } else { format!("/{path}") };
            let unix = Some(unix_path(socket)?);
            return Ok(Self { tls: false, host: "localhost".to_owned(), port: 80, unix, path: prefix(&path)? });
        }
        let tls = match text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it must begin with https://, http:// or unix:/".to_owned()),
        };
        if text.contains('#') {
            return Err("it must not have a fragment".to_owned());
        }
        let uri: Uri = text.parse().map_err(|_| "not a URL".to_owned())?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("it must not have a user or password: write key_env or key_file".to_owned());
        }
        if uri.query().is_some() {
            return Err("it must not have a query".to_owned());
        }
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port_is_written = uri.authority().is_some_and(|authority| {
            authority.as_str().rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'))
        });
        let port = match uri.port_u16() {
            None if port_is_written => return Err("its port is not a number up to 65535".to_owned()),
            port => port.unwrap_or(if tls { 443 } else { 80 }),
        };
        if host.is_empty() || port == 0 {
            return Err("it has no host, or port 0".to_owned());
        }
        Ok(Self { tls, host: host.to_ascii_lowercase(), port, unix: None, path: prefix(uri.path())? })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(socket) = &self.unix {
            return write!(f, "unix:{}:{}", socket.display(), if self.path.is_empty() { "/" } else { &self.path });
        }
        let scheme = if self.tls { "https" } else { "http" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}{}", self.host, self.port, self.path)
    }
}

/// Whether `first` and `second` cannot both be bound. Port 0 is a new port each time.
pub(super) fn is_port_taken(first: &Address, second: &Address) -> bool {
    first == second && !matches!(first, Address::Tcp(address) if address.port() == 0)
}

/// Whether only this machine can connect to `address`.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// The path of a Unix socket: absolute, and no longer than the kernel takes.
fn unix_path(path: &str) -> Result<PathBuf, String> {
    if !Path::new(path).is_absolute() || path.contains('\0') {
        return Err("the path of a Unix socket must begin with \"/\"".to_owned());
    }
    if path.len() > UNIX_PATH_MAX {
        return Err(format!("the path of a Unix socket may have {UNIX_PATH_MAX} bytes"));
    }
    Ok(PathBuf::from(path))
}

/// A path prefix without its trailing slashes.
fn prefix(path: &str) -> Result<String, String> {
    let path = path.trim_end_matches('/');
    if path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#')) {
        Ok(path.to_owned())
    } else {
        Err("its path must be ASCII, without blanks, query or fragment".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_back() {
        for text in ["127.0.0.1:8080", "[::1]:0", "0.0.0.0:80", "unix:/run/x.sock"] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
        for text in ["", "8080", ":8080", "localhost:8080", "127.0.0.1", "127.0.0.1:99999", "unix:", "unix:x"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert!(format!("unix:/{}", "x".repeat(107)).parse::<Address>().is_err());
    }

    #[test]
    fn loopback_is_told_from_the_world() {
        for (text, remote) in [
            ("127.0.0.1:1", false),
            ("127.9.9.9:1", false),
            ("[::1]:1", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("unix:/x", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("10.0.0.1:1", true),
        ] {
            assert_eq!(text.parse::<Address>().expect(text).is_remote(), remote, "{text}");
        }
    }

    #[test]
    fn base_urls_are_taken_apart() {
        for (text, expected) in [
            ("https://api.openai.com/v1", "https://api.openai.com:443/v1"),
            ("HTTPS://API.OpenAI.com/v1/", "https://api.openai.com:443/v1"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://[::1]:8000/a/b//", "http://[::1]:8000/a/b"),
            ("http://[::1]/v1", "http://[::1]:80/v1"),
            ("unix:/run/x.sock:/v1", "unix:/run/x.sock:/v1"),
            ("unix:/run/x.sock:/", "unix:/run/x.sock:/"),
            ("unix:/run/x.sock", "unix:/run/x.sock:/"),
        ] {
            let url: BaseUrl = text.parse().expect(text);
            assert_eq!(url.to_string(), expected);
            assert_eq!(expected.parse(), Ok(url), "{expected}");
        }
    }

    #[test]
    fn base_urls_with_more_or_less_are_refused() {
        for text in [
            "",
            "api.openai.com/v1",
            "ftp://host/v1",
            "https://",
            "https:///v1",
            "https://user:canary@host/v1",
            "https://host/v1?key=canary",
            "https://host/v1#x",
            "https://host:0/v1",
            "https://host:99999/v1",
            "https://host:/v1",
            "https://ho st/v1",
            "https://host/v 1",
            "unix:x.sock:/v1",
            "unix:/run/x.sock:/v1?x",
        ] {
            let error = text.parse::<BaseUrl>().expect_err(text);
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
