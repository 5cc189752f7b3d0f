//! A gateway with upstreams that a test plays.

use std::net::SocketAddr;

use super::Gateway;
use super::client::{Client, H2Client, Reader};
use super::upstream::{Http, Upstream};

/// What upstreams are sent.
pub const UPSTREAM_KEY: &str = "sk-upstream-canary-0123456789";

/// For gateways that thousands of requests go through: a line about each would be nobody's business.
pub const QUIET: &str = "[log]\nfilter = \"warn\"\naccess = false";

/// A configuration in the making. One worker, whatever the machine.
pub struct Setup {
    server: String,
    stream: String,
    upstreams: String,
    rest: String,
    env: Vec<(String, String)>,
}

impl Setup {
    pub fn new() -> Self {
        Self {
            server: "workers = 1\npin = false\n".to_owned(),
            stream: String::new(),
            upstreams: String::new(),
            rest: String::new(),
            env: vec![("UPSTREAM_KEY".to_owned(), UPSTREAM_KEY.to_owned())],
        }
    }

    pub fn server(mut self, lines: &str) -> Self {
        self.server = format!("{lines}\n");
        self
    }

    pub fn stream(mut self, lines: &str) -> Self {
        self.stream += &format!("{lines}\n");
        self
    }

    /// Other tables.
    pub fn tables(mut self, text: &str) -> Self {
        self.rest += &format!("{text}\n");
        self
    }

    /// What an upstream says, or that it says nothing, reaches the client: nothing is repeated, and nobody is left
    /// alone after any number of failures.
    pub fn unrepeated(self) -> Self {
        self.tables("[retry]\nsame_target_max = 0").steadfast()
    }

    /// No number of failures has a target left alone.
    pub fn steadfast(self) -> Self {
        self.tables("[health]\nbreaker_failures = 10000\nbreaker_ratio = 1.0")
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn upstream(self, name: &str, address: SocketAddr, more: &str) -> Self {
        self.upstream_at(name, &format!("http://{address}/v1"), more)
    }

    pub fn upstream_at(mut self, name: &str, base_url: &str, more: &str) -> Self {
        self.upstreams += &format!(
            "[[upstreams]]\nname = \"{name}\"\nbase_url = \"{base_url}\"\nkey_env = \"UPSTREAM_KEY\"\n{more}\n"
        );
        self
    }

    pub fn text(&self) -> String {
        let listen = if self.server.contains("listen") { "" } else { "listen = \"127.0.0.1:0\"\n" };
        let log = if self.rest.contains("[log]") { "" } else { "[log]\nfilter = \"debug\"\nformat = \"text\"\n" };
        format!(
            "[server]\n{listen}{}\n[admin]\nlisten = \"127.0.0.1:0\"\n{log}[stream]\n{}\n{}\n{}",
            self.server, self.stream, self.upstreams, self.rest
        )
    }

    pub fn variables(&self) -> Vec<(&str, &str)> {
        self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    pub fn start(&self) -> Gateway {
        Gateway::start_with(&self.text(), &self.variables())
    }

    /// Starts with one upstream, which gets every request.
    pub fn lab(self, http: Http) -> Lab {
        let more = if http == Http::Two { "protocol = \"http2\"" } else { "" };
        self.lab_with(http, more)
    }

    /// The same, with an upstream of this kind.
    pub fn lab_of(self, kind: &str) -> Lab {
        self.lab_with(Http::One, &format!("kind = \"{kind}\""))
    }

    fn lab_with(self, http: Http, more: &str) -> Lab {
        let upstream = Upstream::start(http);
        let gateway = self.upstream("up", upstream.address(), more).start();
        Lab { gateway, upstream }
    }
}

/// A gateway and its only upstream.
pub struct Lab {
    pub gateway: Gateway,
    pub upstream: Upstream,
}

impl Lab {
    pub fn client(&self) -> Client {
        Client::connect(self.gateway.address(0))
    }

    pub fn h2_client(&self) -> H2Client {
        H2Client::connect(self.gateway.address(0))
    }

    /// Asks on a connection of its own.
    pub fn post(&self, http: Http, path: &str, body: &str) -> Box<dyn Reader> {
        match http {
            Http::One => {
                let mut client = self.client();
                client.post(path, body);
                Box::new(client)
            }
            Http::Two => {
                let mut client = self.h2_client();
                let answer = client.post(path, body);
                Box::new(client.only(answer))
            }
        }
    }

    /// Asks for a stream of chat.
    pub fn chat(&self, http: Http) -> Box<dyn Reader> {
        self.post(http, CHAT_PATH, CHAT)
    }

    /// Waits until nothing is in flight any more.
    pub fn until_idle(&self) {
        self.gateway.until("nothing is in flight", |gateway| {
            gateway.metric("millstream_streams_active{phase=\"streaming\"}") == 0.0
                && gateway.metric("millstream_streams_active{phase=\"waiting_first_token\"}") == 0.0
        });
    }

    /// Waits until one stream has ended in this way.
    pub fn until_ended(&self, endpoint: &str, reason: &str) {
        let sample = format!("millstream_stream_ends_total{{endpoint=\"{endpoint}\",reason=\"{reason}\"}}");
        self.gateway.until(&sample, |gateway| gateway.metric(&sample) == 1.0);
    }
}

pub const CHAT_PATH: &str = "/v1/chat/completions";
pub const CHAT: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// One chunk of a chat, as an event.
pub fn token(text: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

/// The last chunk of a chat.
pub const STOP: &str =
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
pub const DONE: &str = "data: [DONE]\n\n";
