//! Configurations that need no file: the demo, and the providers whose keys are in the environment.
//!
//! Both are written in the language of the file and checked like one.

use std::fmt::Write as _;
use std::time::Duration;

use super::check::parse;
use super::env::Env;
use super::problem::Problem;
use super::{Config, LogFormat};

/// A provider, and how its models are recognised among those of several.
struct Provider {
    name: &'static str,
    /// Variable of its key.
    key: &'static str,
    /// Its kind or preset, as the file has it, and what else it wants.
    settings: &'static str,
    /// Globs of its models, as the provider itself names them.
    models: &'static [&'static str],
}

/// In the order in which they are asked for the rest (`*`). Routers, which serve everybody's models, and
/// hosts of open models have no globs of their own but a prefix.
const PROVIDERS: [Provider; 11] = [
    Provider {
        name: "openai",
        key: "OPENAI_API_KEY",
        settings: "preset = \"openai\"\nbase_url = \"${OPENAI_BASE_URL:-https://api.openai.com/v1}\"",
        models: &["gpt-*", "o1*", "o3*", "o4*", "text-embedding-*"],
    },
    Provider {
        name: "anthropic",
        key: "ANTHROPIC_API_KEY",
        settings: "kind = \"anthropic\"",
        models: &["claude-*"],
    },
    Provider { name: "gemini", key: "GEMINI_API_KEY", settings: "kind = \"gemini\"", models: &["gemini-*"] },
    Provider {
        name: "cohere",
        key: "COHERE_API_KEY",
        settings: "kind = \"cohere\"",
        models: &["command-*", "embed-*"],
    },
    Provider {
        name: "openrouter",
        key: "OPENROUTER_API_KEY",
        settings: "preset = \"openrouter\"",
        models: &["openrouter/*"],
    },
    Provider { name: "groq", key: "GROQ_API_KEY", settings: "preset = \"groq\"", models: &["groq/*", "llama-*"] },
    Provider {
        name: "deepseek",
        key: "DEEPSEEK_API_KEY",
        settings: "preset = \"deepseek\"",
        models: &["deepseek-*"],
    },
    Provider {
        name: "mistral",
        key: "MISTRAL_API_KEY",
        settings: "preset = \"mistral\"",
        models: &["mistral-*", "ministral-*", "magistral-*", "codestral-*", "devstral-*", "pixtral-*"],
    },
    Provider {
        name: "together",
        key: "TOGETHER_API_KEY",
        settings: "preset = \"together\"",
        models: &["meta-llama/*", "Qwen/*"],
    },
    Provider { name: "xai", key: "XAI_API_KEY", settings: "preset = \"xai\"", models: &["grok-*"] },
    Provider {
        name: "fireworks",
        key: "FIREWORKS_API_KEY",
        settings: "preset = \"fireworks\"",
        models: &["accounts/fireworks/*"],
    },
];

/// The upstreams whose keys stand in the environment; `None` when there is no key.
///
/// The model's name decides: each provider gets the models that carry its own names (`deepseek-*`, `grok-*`),
/// and the first provider found, OpenAI before all others, gets the rest. Names are passed on unchanged.
/// `OPENAI_BASE_URL` moves OpenAI to another address.
///
/// # Errors
/// Inside the `Some`: what is wrong with the variables.
pub fn from_env(env: &Env) -> Option<Result<Config, Vec<Problem>>> {
    let found: Vec<&Provider> =
        PROVIDERS.iter().filter(|provider| env.get(provider.key).is_some_and(|key| !key.is_empty())).collect();
    let first = found.first()?;
    let mut text = String::new();
    for Provider { name, key, settings, .. } in &found {
        writeln!(text, "[[upstreams]]\nname = \"{name}\"\n{settings}\nkey_env = \"{key}\"")
            .expect("a String takes everything");
    }
    for provider in found.iter().filter(|_| found.len() > 1) {
        for model in provider.models {
            writeln!(text, "[[routes]]\nmodel = \"{model}\"\ntargets = [\"{}\"]", provider.name)
                .expect("a String takes everything");
        }
    }
    writeln!(text, "[[routes]]\nmodel = \"*\"\ntargets = [\"{}\"]", first.name)
        .expect("a String takes everything");
    Some(parse(&text, "environment", env))
}

/// The demo: one upstream inside this process, for every model; nobody waits for its drain.
pub fn demo() -> Config {
    let text = "[[upstreams]]\nname = \"demo\"\nkind = \"demo\"\n\
        [[routes]]\nmodel = \"demo\"\ntargets = [\"demo\"]\n\
        [[routes]]\nmodel = \"*\"\ntargets = [\"demo\"]\n";
    let mut config = parse(text, "demo", &Env::of([])).expect("the demo's configuration has no problem");
    config.drain.delay = Duration::ZERO;
    config.log.format = LogFormat::Text;
    config
}
