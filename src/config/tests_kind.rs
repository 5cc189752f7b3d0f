//! What upstreams speak, and where they are.

use super::tests::{accept, refuse};
use super::*;

fn upstream(text: &str) -> Upstream {
    accept(&format!("[[upstreams]]\nname = \"u\"\n{text}")).upstreams.remove(0)
}

#[test]
fn every_kind_knows_where_it_is() {
    for (text, base) in [
        ("preset = \"groq\"", "https://api.groq.com/openai/v1"),
        ("preset = \"vllm\"\nbase_url = \"http://gpu:8000/v1\"", "http://gpu:8000/v1"),
        ("kind = \"anthropic\"", "https://api.anthropic.com/v1"),
        ("kind = \"gemini\"", "https://generativelanguage.googleapis.com/v1beta"),
        ("kind = \"cohere\"", "https://api.cohere.com/v2"),
        ("kind = \"ollama\"", "http://127.0.0.1:11434"),
        ("kind = \"azure\"\nbase_url = \"https://x.openai.azure.com\"", "https://x.openai.azure.com/openai/v1"),
        (
            "kind = \"azure\"\nbase_url = \"https://x.openai.azure.com\"\napi_version = \"2024-10-21\"",
            "https://x.openai.azure.com/openai",
        ),
        ("kind = \"azure\"\nbase_url = \"https://proxy/aoai/v1\"", "https://proxy/aoai/v1"),
        ("kind = \"vertex\"\nproject = \"p\"", "https://aiplatform.googleapis.com/v1/projects/p/locations/global"),
        (
            "kind = \"vertex\"\nproject = \"p\"\nlocation = \"europe-west4\"",
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4",
        ),
        (
            "kind = \"vertex\"\nproject = \"p\"\nbase_url = \"http://h:1\"",
            "http://h:1/v1/projects/p/locations/global",
        ),
        ("kind = \"bedrock\"\nregion = \"eu-west-1\"", "https://bedrock-runtime.eu-west-1.amazonaws.com"),
        ("kind = \"bedrock\"\nbase_url = \"http://h:1\"", "http://h:1"),
    ] {
        let found = upstream(text).base.to_string().replacen(":443", "", 1);
        assert_eq!(found, base, "{text}");
    }
}

#[test]
fn a_preset_knows_what_it_can() {
    assert!(upstream("preset = \"openai\"").responses);
    assert!(!upstream("preset = \"deepseek\"").responses);
    assert!(upstream("preset = \"deepseek\"\nresponses = true").responses);
    assert_eq!(upstream("preset = \"xai\"\napi = \"responses\"").api, OpenAiApi::Responses);
}

#[test]
fn what_a_kind_has_not_is_told() {
    let head = "[[upstreams]]\nname = \"u\"\n";
    refuse(
        &format!("{head}kind = \"groq\"\nbase_url = \"http://h\""),
        &[
            "config.toml:3:8: upstreams[0].kind = \"groq\": not one of the choices; write preset = \"groq\" in its \
           place: it speaks OpenAI's API",
        ],
    );
    refuse(
        &format!("{head}preset = \"grok\""),
        &[
            "config.toml:1:1: upstreams[0].base_url: missing; write base_url = \"https://api.openai.com/v1\"",
            "config.toml:3:10: upstreams[0].preset = \"grok\": there is no such preset; did you mean \"groq\"?",
        ],
    );
    refuse(
        &format!("{head}kind = \"anthropic\"\npreset = \"groq\"\napi_version = \"1\""),
        &[
            "config.toml:4:10: upstreams[0].preset: an upstream of kind \"anthropic\" has none; remove it",
            "config.toml:5:15: upstreams[0].api_version: an upstream of kind \"anthropic\" has none; remove it",
        ],
    );
    refuse(
        &format!("{head}kind = \"bedrock\""),
        &["config.toml:1:1: upstreams[0].region: missing; write region = \"us-east-1\", or set AWS_REGION"],
    );
}

#[test]
fn extras_of_a_target_come_before_those_of_its_upstream() {
    let config = accept(
        "[[upstreams]]\nname = \"u\"\nbase_url = \"http://h\"\nextra_body = { a = 1, b = { c = true } }\n\
         [[routes]]\nmodel = \"m\"\ntargets = [\"u\", { upstream = \"u\", model = \"x\", extra_body = { a = 2 } }]\n\
         unsupported = \"drop\"",
    );
    let extras = |at: usize| -> Vec<(&str, &str)> {
        let target = &config.routes[0].tiers[at][0];
        target.extra_body.iter().map(|member| (member.name.as_str(), member.json.as_str())).collect()
    };
    assert_eq!(extras(0), [("a", "1"), ("b", r#"{"c":true}"#)]);
    assert_eq!(extras(1), [("a", "2"), ("b", r#"{"c":true}"#)]);
    assert_eq!(config.routes[0].unsupported, Unsupported::Drop);
}
