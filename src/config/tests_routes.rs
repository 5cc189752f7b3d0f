//! Routes, targets, upstreams' keys, and what is done when they fail: what is understood, and what is refused.

use std::time::Duration;

use super::tests::{MINIMAL, accept, refuse_after_minimal};
use super::*;

/// Everything that routes and upstreams may say, without secrets.
pub(super) const RICH: &str = r#"
[[upstreams]]
name = "u"
base_url = "http://127.0.0.1:1/v1"
on_cancel = "drain"
drain_bytes_max = "2MiB"
streams_limit = "adaptive"
streams_limit_initial = 5
streams_limit_min = 2
streams_limit_max = 50
batch_share_max = 0.5
probe = "/models"
probe_interval = "20s"
prefill = "prefix"
[[upstreams]]
name = "v"
kind = "demo"
streams_limit = 7
queue_max = 3
[stream]
commit_bytes_max = "64KiB"
idle_timeout = "2m"
[retry]
budget = 0.1
budget_floor = 3
attempts_max = 9
backoff = "200ms"
[health]
breaker_failures = 3
panic_share = 0
[[routes]]
model = "big"
targets = ["u"]
[[routes]]
model = "m"
aliases = ["fast", "fa$$t"]
tiers = [["u", { upstream = "v", weight = 3 }], [{ upstream = "u", model = "x", prefill = "vllm" }]]
balance = "hash"
hash_on = "user"
first_token_timeout = "7s"
total_timeout = "off"
on_cancel = "abort"
larger = "big"
continue = true
[routes.retry]
attempts_max = 2
deadline = "1m"
[routes.hedge]
after = "250ms"
share_max = 0.01
[routes.defaults.headers]
x-title = "a $$ b"
[routes.defaults.body]
max_tokens = 5
temperature = 0.5
stop = ["a", "$$"]
metadata = { a = { b = true } }
[[routes]]
model = "*"
targets = ["v"]
[routes.hedge]
"#;

#[test]
fn a_route_holds_its_final_values() {
    let config = accept(RICH);
    let [big, m, rest] = [0, 1, 2].map(|position| &config.routes[position]);
    assert_eq!((m.clocks.first_token_timeout, m.clocks.total_timeout), (Some(Duration::from_secs(7)), None));
    assert_eq!(m.clocks.idle_timeout, Some(Duration::from_mins(2)), "that of [stream]");
    assert_eq!(big.clocks, config.stream.clocks);
    assert_eq!((m.retry.attempts_max, m.retry.deadline), (2, Some(Duration::from_mins(1))));
    assert_eq!(m.retry.backoff, Duration::from_millis(200), "that of [retry]");
    assert_eq!((rest.retry, config.retry.attempts_max), (config.retry, 9));
    assert_eq!((m.on_cancel, rest.on_cancel), (Some(OnCancel::Abort), None));
    assert_eq!((m.balance, m.hash_on, rest.balance), (Balance::Hash, HashOn::User, Balance::PowerOfTwo));
    assert_eq!(m.hedge.map(|hedge| hedge.after), Some(HedgeAfter::Fixed(Duration::from_millis(250))));
    assert_eq!(rest.hedge, Some(Hedge { after: HedgeAfter::Percentile(95), share_max: 0.07 }));
    assert_eq!((m.larger.as_deref(), m.continues, big.continues), (Some("big"), true, false));
    let weights: Vec<Vec<u32>> =
        m.tiers.iter().map(|tier| tier.iter().map(|target| target.weight).collect()).collect();
    assert_eq!(weights, [vec![1, 3], vec![1]]);
    let prefills: Vec<_> = m.tiers.iter().flatten().map(|target| target.prefill).collect();
    assert_eq!(prefills, [Some(Prefill::Prefix), None, Some(Prefill::Vllm)]);
    let models: Vec<_> = m.tiers.iter().flatten().map(|target| target.model.as_deref()).collect();
    assert_eq!(models, [Some("m"), Some("m"), Some("x")], "no upstream hears an alias");
}

#[test]
fn an_upstream_says_what_it_bears() {
    let config = accept(RICH);
    let [u, v] = [0, 1].map(|position| &config.upstreams[position]);
    let gate = u.gate.expect("a limit");
    assert_eq!(gate.limit, StreamsLimit::Adaptive { initial: 5, min: 2, max: 50 });
    assert_eq!((gate.queue_max, gate.queue_timeout), (1000, Duration::from_secs(30)));
    let gate = v.gate.expect("a limit");
    assert_eq!((gate.limit, gate.queue_max), (StreamsLimit::Fixed(7), 3));
    let probe = u.probe.as_ref().expect("a probe");
    assert_eq!((probe.path.as_str(), probe.interval.as_secs(), probe.timeout.as_secs()), ("/models", 20, 2));
    assert_eq!((u.on_cancel, u.drain.bytes_max, v.on_cancel), (OnCancel::Drain, 2 << 20, OnCancel::Abort));
    assert_eq!((v.probe.as_ref(), v.prefill), (None, None));
}

#[test]
fn defaults_become_headers_and_json() {
    let config = accept(RICH);
    let Defaults { headers, body } = &config.routes[1].defaults;
    assert_eq!((headers[0].0.as_str(), headers[0].1.to_str().ok()), ("x-title", Some("a $ b")));
    let mut members: Vec<_> = body.iter().map(|member| (member.name.as_str(), member.json.as_str())).collect();
    members.sort_unstable();
    let expected = [
        ("max_tokens", "5"),
        ("metadata", "{\"a\":{\"b\":true}}"),
        ("stop", "[\"a\",\"$\"]"),
        ("temperature", "0.5"),
    ];
    assert_eq!(members, expected);
}

#[test]
fn a_header_from_a_variable_is_not_shown() {
    let config = accept(
        "[[upstreams]]\nname = \"u\"\nkind = \"demo\"\n[[routes]]\nmodel = \"*\"\ntargets = [\"u\"]\n\
         [routes.defaults]\nheaders = { x-api-key = \"${OPENAI_API_KEY}\" }\n",
    );
    assert_eq!(config.routes[0].defaults.headers[0].1.as_bytes(), b"sk-upstream-canary");
    assert!(!format!("{config:?}{}", config.summary()).contains("canary"));
}

#[test]
fn an_upstream_has_one_key_or_several_with_names() {
    let one = accept("[[upstreams]]\nname = \"u\"\nbase_url = \"http://h\"\nkey_env = \"OPENAI_API_KEY\"\n");
    assert_eq!((one.upstreams[0].keys.len(), one.upstreams[0].keys[0].name.as_str()), (1, "default"));
    let several = accept(
        "[[upstreams]]\nname = \"u\"\nbase_url = \"http://h\"\nkeys = [{ name = \"a\", key_env = \"OPENAI_API_KEY\" }, \
         { name = \"b\", key_env = \"SHORT\", weight = 4 }]\n[[routes]]\nmodel = \"m\"\n\
         tiers = [[{ upstream = \"u\", key = \"b\" }], [\"u\"]]\n",
    );
    let keys: Vec<_> = several.upstreams[0].keys.iter().map(|key| (key.name.as_str(), key.weight)).collect();
    assert_eq!(keys, [("a", 1), ("b", 4)]);
    assert_eq!(several.routes[0].tiers.concat().iter().map(|t| t.key).collect::<Vec<_>>(), [Some(1), None]);
    let default_route = several.default_route.as_ref().expect("a default route");
    assert_eq!(default_route.tiers.concat().iter().map(|t| t.key).collect::<Vec<_>>(), [Some(0), Some(1)]);
    assert!(!format!("{several:?}{}", several.summary()).contains("canary"));
}

#[test]
fn wrong_keys_of_an_upstream_are_told() {
    refuse_after_minimal(
        "key_env = \"OPENAI_API_KEY\"\nkeys = [{ name = \"a\", key_env = \"OPENAI_API_KEY\" }]\n\
         [[upstreams]]\nname = \"v\"\nbase_url = \"http://h\"\nkeys = []\n\
         [[upstreams]]\nname = \"w\"\nbase_url = \"http://h\"\nkeys = [{ name = \"a\" }, \
         { name = \"a\", key_env = \"NOT_SET\", weight = 0 }, { key_env = \"SHORT\", sha256 = \"x\" }, \"sk-canary\"]\n\
         [[upstreams]]\nname = \"d\"\nkind = \"demo\"\nkeys = [{ name = \"a\", key_env = \"SHORT\" }]\n\
         [[routes]]\nmodel = \"*\"\ntiers = [[{ upstream = \"w\", key = \"canary\" }, { upstream = \"u\", key = \"a\" }]]\n",
        &[
            "config.toml:4:11: upstreams[0].key_env: a key has one source; remove the other source",
            "config.toml:9:8: upstreams[1].keys: an upstream with 0 keys; \
             write 1 to 16 keys, or leave them out where it wants none",
            "config.toml:13:9: upstreams[2].keys[0]: the key has no source; \
             write key_env = \"NAME\" or key_file = \"/path\"",
            "config.toml:13:34: upstreams[2].keys[1].name = \"a\": an earlier entry has the same name; \
             choose another name",
            "config.toml:13:49: upstreams[2].keys[1].key_env: the environment variable NOT_SET is not set",
            "config.toml:13:69: upstreams[2].keys[1].weight = 0: not a whole number in bounds; write 1 to 1000",
            "config.toml:13:74: upstreams[2].keys[2].name: missing; write name = \"a\"",
            "config.toml:13:95: upstreams[2].keys[2].sha256: unknown key; known are name, weight, key_env, key_file",
            "config.toml:13:111: upstreams[2].keys[3]: expected a table; write { name = \"a\", key_env = \"NAME\" }",
            "config.toml:17:8: upstreams[3].keys: an upstream of kind \"demo\" takes none; remove it",
            "config.toml:20:35: routes[0].tiers[0][0].key: the upstream has no key of this name; known are a, a",
        ],
    );
}

#[test]
fn what_an_upstream_cannot_bear_is_told() {
    refuse_after_minimal(
        "streams_limit = \"some\"\nstreams_limit_initial = 5\nstreams_limit_min = 6\nstreams_limit_max = 4\n\
         queue_max = -1\nbatch_share_max = 2\nprobe = \"models\"\nprobe_interval = \"1s\"\nprefill = \"yes\"\n\
         on_cancel = \"stop\"\n[[upstreams]]\nname = \"v\"\nkind = \"demo\"\nstreams_limit = 0\n",
        &[
            "config.toml:4:17: upstreams[0].streams_limit = \"some\": not a whole number; \
             write 1 to 10000000, \"adaptive\" or \"off\"",
            "config.toml:5:25: upstreams[0].streams_limit_initial: more than streams_limit_max; \
             write at most 4, or raise streams_limit_max",
            "config.toml:6:21: upstreams[0].streams_limit_min: more than streams_limit_initial; \
             write at most 5, or raise streams_limit_initial",
            "config.toml:8:13: upstreams[0].queue_max = -1: not a whole number in bounds; write 0 to 1000000",
            "config.toml:9:19: upstreams[0].batch_share_max = 2: not a number in bounds; write 0 to 1",
            "config.toml:10:9: upstreams[0].probe = \"models\": not a path; \
             write a path below base_url such as \"/models\", or \"off\"",
            "config.toml:11:18: upstreams[0].probe_interval: less than probe_timeout; \
             write at least 2s, or lower probe_timeout",
            "config.toml:12:11: upstreams[0].prefill = \"yes\": not one of the choices; \
             write \"off\" or \"vllm\" or \"prefix\"",
            "config.toml:13:13: upstreams[0].on_cancel = \"stop\": not one of the choices; \
             write \"abort\" or \"drain\"",
            "config.toml:17:17: upstreams[1].streams_limit = 0: not a whole number in bounds; write 1 to 10000000",
        ],
    );
}

#[test]
fn tiers_and_targets_that_mean_nothing_are_told() {
    refuse_after_minimal(
        "[[routes]]\nmodel = \"a\"\ntargets = [\"u\"]\ntiers = [[\"u\"]]\n\
         [[routes]]\nmodel = \"b\"\ntiers = [\"u\", [\"u\"]]\n\
         [[routes]]\nmodel = \"c\"\ntiers = [[], [\"u\", { upstream = \"u\", weight = 3 }], [\"x\"]]\n\
         [[routes]]\nmodel = \"d\"\ntargets = [{ upstream = \"u\", weight = 3, model = \"m\" }]\nhash_on = \"user\"\n\
         [[routes]]\nmodel = \"e\"\ntiers = []\n\
         [[routes]]\nmodel = \"f\"\ntargets = [{ upstream = \"u\", model = \"m\", prefill = \"vllm\" }]\n",
        &[
            "config.toml:6:11: routes[0].targets: a route has targets or tiers; remove one of the two",
            "config.toml:10:9: routes[1].tiers: expected an array of tiers, each an array; \
             write such as [[\"a\", \"b\"], [\"c\"]]: first a or b, then c",
            "config.toml:13:10: routes[2].tiers[0]: a tier with 0 targets; write 1 to 64 targets",
            "config.toml:13:20: routes[2].tiers[1][1]: an earlier target of this tier is the same; \
             give that one a greater weight",
            "config.toml:13:54: routes[2].tiers[2][0] = \"x\": there is no such upstream; did you mean \"u\"?",
            "config.toml:16:39: routes[3].targets[0].weight = 3: targets are tried in their order, \
             whatever they weigh; remove it, or write tiers instead of targets",
            "config.toml:17:11: routes[3].hash_on = \"user\": nothing is hashed here; \
             write balance = \"hash\", or remove it",
            "config.toml:20:9: routes[4].tiers: a route with 0 tiers; write 1 to 16 tiers",
            "config.toml:23:12: routes[5].targets[0]: an earlier target of the same upstream and model \
             has another prefill or extra_body; give both the same",
        ],
    );
}

#[test]
fn aliases_are_exact_and_nobody_else_has_them() {
    refuse_after_minimal(
        "[[routes]]\nmodel = \"a\"\naliases = [\"b\", \"b\", \"x*\", \"\"]\ntargets = [\"u\"]\n\
         [[routes]]\nmodel = \"b\"\naliases = \"a\"\ntargets = [\"u\"]\n\
         [[routes]]\nmodel = \"c-*\"\naliases = [\"c\"]\ntargets = [{ upstream = \"u\", model = \"m\" }, \"u\"]\n",
        &[
            "config.toml:6:17: routes[0].aliases[1] = \"b\": an earlier model or alias has the same name; \
             choose another name",
            "config.toml:6:22: routes[0].aliases[2] = \"x*\": an alias has no wildcards; \
             write a name without \"*\" and \"?\", or a route of its own",
            "config.toml:6:28: routes[0].aliases[3] = \"\": not the name of a model; \
             write 1 to 256 bytes without blanks, such as \"gpt-4.1\"",
            "config.toml:9:9: routes[1].model = \"b\": an earlier route has the same model; \
             put the targets of both into one route",
            "config.toml:10:11: routes[1].aliases = \"a\": an earlier model or alias has the same name; choose another name",
            "config.toml:15:45: routes[2].targets[1]: the route has wildcards and aliases, so its aliases mean no \
             model here; write { upstream = \"openai\", model = \"gpt-4.1\" }",
        ],
    );
}

#[test]
fn a_larger_model_is_another_one_and_not_too_far_away() {
    let route = |model: &str, larger: &str| {
        format!("[[routes]]\nmodel = \"{model}\"\ntargets = [\"u\"]\nlarger = \"{larger}\"\n")
    };
    let last = "[[routes]]\nmodel = \"z\"\ntargets = [\"u\"]\n";
    accept(&format!("{MINIMAL}{}{}{last}", route("a", "b"), route("b", "z")));
    refuse_after_minimal(
        &format!("{}{}{}{last}", route("a", "none"), route("b", "z*"), route("c-*", "c-long")),
        &[
            "config.toml:7:10: routes[0].larger = \"none\": no route has this model; add one, or name another",
            "config.toml:11:10: routes[1].larger = \"z*\": requests go to a model, and this has wildcards; \
             write the name of one model",
            "config.toml:15:10: routes[2].larger = \"c-long\": it leads back to this route; \
             name a model that takes longer requests than this one",
        ],
    );
    refuse_after_minimal(
        &format!("{}{}{last}", route("a", "b"), route("b", "a")),
        &[
            "config.toml:7:10: routes[0].larger = \"b\": it leads back to this route; \
             name a model that takes longer requests than this one",
            "config.toml:11:10: routes[1].larger = \"a\": it leads back to this route; \
             name a model that takes longer requests than this one",
        ],
    );
    let row = [route("a", "b"), route("b", "c"), route("c", "d"), route("d", "z")].concat();
    refuse_after_minimal(
        &format!("{row}{last}"),
        &["config.toml:7:10: routes[0].larger = \"b\": more than 4 routes in a row; name the largest one at once"],
    );
}

#[test]
fn percentiles_and_times_to_hedge_after_are_bounded() {
    let route = |after: &str| {
        format!("{MINIMAL}[[routes]]\nmodel = \"*\"\ntargets = [\"u\"]\n[routes.hedge]\nafter = {after}\n")
    };
    for (after, expected) in [
        ("\"p50\"", HedgeAfter::Percentile(50)),
        ("\"p99\"", HedgeAfter::Percentile(99)),
        ("\"1s 500ms\"", HedgeAfter::Fixed(Duration::from_millis(1500))),
    ] {
        assert_eq!(accept(&route(after)).routes[0].hedge.map(|hedge| hedge.after), Some(expected));
    }
    for after in
        ["\"p49\"", "\"p100\"", "\"p+99\"", "\"p9\"", "\"p\"", "\"95\"", "95", "\"off\"", "\"0s\"", "true"]
    {
        let problems = parse(&route(after), "x", &Env::of([])).expect_err(after);
        assert!(problems.len() == 1 && problems[0].remedy.contains("\"p50\" to \"p99\""), "{problems:?}");
    }
}

#[test]
fn defaults_that_are_not_the_files_to_set_are_told() {
    refuse_after_minimal(
        "[[routes]]\nmodel = \"*\"\ntargets = [\"u\"]\n[routes.defaults]\n\
         headers = { Authorization = \"Bearer canary\", content_length = \"1\", \"a b\" = \"x\", x-a = \"canary\\n\", x-b = 1 }\n\
         body = { model = \"m\", stream = true, \"a\\\"b\" = 1, when = 1979-05-27, far = inf, in = [nan] }\n",
        &[
            "config.toml:8:29: routes[0].defaults.headers.Authorization: this header is the gateway's own business; \
             write key_env, key_file or keys with the upstream",
            "config.toml:8:63: routes[0].defaults.headers.content_length: this header is the gateway's own business; \
             remove it",
            "config.toml:8:76: routes[0].defaults.headers.\"a b\": not the name of a header; \
             write such as x-title = \"app\"",
            "config.toml:8:87: routes[0].defaults.headers.x-a: not the value of a header; write visible characters",
            "config.toml:8:105: routes[0].defaults.headers.x-b: expected a string",
            "config.toml:9:18: routes[0].defaults.body.model: this member decides where a request goes or how its \
             answer is read; remove it",
            "config.toml:9:32: routes[0].defaults.body.stream: this member decides where a request goes or how its \
             answer is read; remove it",
            "config.toml:9:47: routes[0].defaults.body.\"a\"b\": not a name that is set in a body; \
             write 1 to 64 letters, digits, \"_\", \"-\" or \".\"",
            "config.toml:9:57: routes[0].defaults.body.when = 1979-05-27: JSON has no such value; \
             write a string, a number, or true or false",
            "config.toml:9:75: routes[0].defaults.body.far = inf: JSON has no such value; \
             write a string, a number, or true or false",
            "config.toml:9:86: routes[0].defaults.body.in[0] = nan: JSON has no such value; \
             write a string, a number, or true or false",
        ],
    );
}

#[test]
fn waits_that_shrink_are_told_where_they_are_written() {
    refuse_after_minimal(
        "[retry]\nbackoff = \"3s\"\nbudget = 1.5\n[health]\nbreaker_open_max = \"1s\"\nbreaker_ratio = 0\n\
         throttle = \"10m\"\n[[routes]]\nmodel = \"*\"\ntargets = [\"u\"]\n[routes.retry]\nattempts_max = 0\n\
         backoff_max = \"1s\"\nbudget = 0.1\n",
        &[
            "config.toml:5:11: retry.backoff: more than backoff_max; write at most 2s, or raise backoff_max",
            "config.toml:6:10: retry.budget = 1.5: not a number in bounds; write 0 to 1",
            "config.toml:8:20: health.breaker_open_max: less than breaker_open; \
             write at least 5s, or lower breaker_open",
            "config.toml:9:17: health.breaker_ratio = 0: not a number in bounds; write 0.01 to 1",
            "config.toml:10:12: health.throttle: more than throttle_max; \
             write at most 300s, or raise throttle_max",
            "config.toml:15:16: routes[0].retry.attempts_max = 0: not a whole number in bounds; write 1 to 64",
            "config.toml:16:15: routes[0].retry.backoff_max: less than backoff; \
             write at least 3s, or lower backoff",
            "config.toml:17:1: routes[0].retry.budget: unknown key; known are attempts_max, same_target_max, backoff, \
             backoff_max, attempt_timeout, deadline",
        ],
    );
}

#[test]
fn a_virtual_key_may_use_some_upstreams_in_its_own_time() {
    let key = "[[keys]]\nname = \"k\"\nkey_env = \"MILLSTREAM_KEY_TEAM_A\"\n";
    let config = accept(&format!("{MINIMAL}{key}priority = \"batch\"\nupstreams = [\"u\"]\n"));
    assert_eq!((config.keys[0].priority, config.keys[0].upstreams.as_slice()), (Priority::Batch, &[0][..]));
    let config = accept(&format!("{MINIMAL}{key}"));
    assert_eq!((config.keys[0].priority, config.keys[0].upstreams.len()), (Priority::Interactive, 0));
    refuse_after_minimal(
        &format!(
            "{key}priority = \"high\"\nupstreams = [\"x\"]\n[[keys]]\nname = \"l\"\nkey_env = \"SHORT\"\nupstreams = []\n"
        ),
        &[
            "config.toml:7:12: keys[0].priority = \"high\": not one of the choices; \
             write \"interactive\" or \"batch\"",
            "config.toml:8:14: keys[0].upstreams[0] = \"x\": there is no such upstream; did you mean \"u\"?",
            "config.toml:11:11: keys[1].key_env: the key is shorter than 16 characters; \
             make one with: openssl rand -hex 24",
            "config.toml:12:13: keys[1].upstreams: an empty list allows no upstream; \
             leave it out to allow every upstream",
        ],
    );
}
