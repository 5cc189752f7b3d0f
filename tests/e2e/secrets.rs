//! Keys go where they belong, and nowhere else.

use std::process::Command;

use crate::support::client::Reader;
use crate::support::setup::{CHAT, CHAT_PATH, DONE, Setup, UPSTREAM_KEY};
use crate::support::upstream::{Http, nobody};

const CLIENT_KEY: &str = "sk-client-canary-0123456789";
const WRONG_KEY: &str = "sk-wrong-canary-0123456789";

#[test]
fn keys_are_in_no_log_error_metric_or_summary() {
    let (_taken, refusing) = nobody();
    for http in [Http::One, Http::Two] {
        let tables = "[log]\nfilter = \"trace\"\nformat = \"json\"\n\
                      [[keys]]\nname = \"team\"\nkey_env = \"CLIENT_KEY\"\nrequests_per_minute = 3\n\
                      [[routes]]\nmodel = \"refused\"\ntargets = [\"refusing\"]\n\
                      [[routes]]\nmodel = \"*\"\ntargets = [\"up\"]";
        let setup = Setup::new().env("CLIENT_KEY", CLIENT_KEY).tables(tables).upstream("refusing", refusing, "");
        let lab = setup.lab(http);

        let bearer = format!("Bearer {CLIENT_KEY}");
        let wrong = format!("Bearer {WRONG_KEY}");
        let mut told = String::new();
        for (authorization, body, answered) in [
            (&bearer, CHAT.to_owned(), true),
            (&bearer, CHAT.replace("\"m\"", "\"refused\""), false),
            (&bearer, CHAT.to_owned(), true),
            (&bearer, CHAT.to_owned(), false),
            (&wrong, CHAT.to_owned(), false),
        ] {
            let fields =
                [("authorization", authorization.as_str()), ("api-key", CLIENT_KEY), ("cookie", CLIENT_KEY)];
            let mut one = lab.client();
            let mut two = lab.h2_client();
            let mut client: Box<dyn Reader> = match http {
                Http::One => {
                    one.ask("POST", CHAT_PATH, &fields, body.as_bytes());
                    Box::new(one)
                }
                Http::Two => Box::new(two.ask("POST", CHAT_PATH, &fields, Some(body.as_bytes()))),
            };
            if answered {
                let mut exchange = lab.upstream.next();
                assert_eq!(exchange.head.get("authorization"), Some(&*format!("Bearer {UPSTREAM_KEY}")));
                assert!(!format!("{:?}{}", exchange.head, exchange.text()).contains(CLIENT_KEY));
                exchange.begin_events();
                exchange.send(DONE);
                exchange.end();
            }
            told += &format!("{:?}", client.head());
            told += &client.rest().text();
        }
        lab.until_idle();
        told += &lab.gateway.admin_get("/metrics");
        told += &lab.gateway.said.join("\n");
        told += &lab.gateway.log();
        assert!(told.contains("\"level\":\"TRACE\""), "the log is at its finest");

        let file = lab.gateway.folder.path().join("config.toml");
        let text = std::fs::read_to_string(&file).expect("a configuration");
        for (text, status) in [(text.clone(), 0), (format!("{text}\n[unknown]\nkey = \"x\"\n"), 1)] {
            std::fs::write(&file, text).expect("written");
            let output = Command::new(env!("CARGO_BIN_EXE_millstream"))
                .args(["check", "-c"])
                .arg(&file)
                .env_clear()
                .envs([("CLIENT_KEY", CLIENT_KEY), ("UPSTREAM_KEY", UPSTREAM_KEY)])
                .output()
                .expect("it runs");
            assert_eq!(output.status.code(), Some(status));
            told += &String::from_utf8_lossy(&output.stdout);
            told += &String::from_utf8_lossy(&output.stderr);
        }
        for secret in [UPSTREAM_KEY, CLIENT_KEY, WRONG_KEY, "canary"] {
            let at = told.find(secret).map(|at| &told[at.saturating_sub(300)..(at + 100).min(told.len())]);
            assert_eq!(at, None, "{http:?}");
        }
    }
}
