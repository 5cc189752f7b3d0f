//! Writes a request (Amazon Bedrock API Reference, Converse).

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::messages_out::Turns;
use super::model::Model;
use super::settings_out::Settings;
use super::tools_out::Tools;
use crate::dialects::conversation::Request;
use crate::dialects::provider::{Sent, Target, Unfit};

/// A request for an answer.
pub(super) fn chat(request: &Request, target: &Target<'_>) -> Result<Sent, Unfit> {
    let model = Model::of(target.model);
    let mut turns = Turns::of(request, model)?;
    let mut tools = Tools::of(request, model, &mut turns);
    let form_tool = tools.form_tool.clone();
    let mut body = Map::new();
    let mut lost = Settings::of(request, model, &mut tools).write(&mut body);
    lost.append(&mut turns.lost);
    if !turns.system.is_empty() {
        body.insert("system".to_owned(), std::mem::take(&mut turns.system).into());
    }
    body.insert("messages".to_owned(), turns.messages().into());
    if let Some(output) = &tools.output {
        body.insert("outputConfig".to_owned(), output.clone());
    }
    if let Some(config) = tools.config() {
        body.insert("toolConfig".to_owned(), config);
    }
    Ok(Sent {
        path: path(target.model, if request.stream { "converse-stream" } else { "converse" }),
        body: Value::Object(body).to_string().into_bytes(),
        lost,
        form_tool,
        stream: request.stream,
        unique: target.unique.to_owned(),
        ..Sent::default()
    })
}

/// A request for the number of tokens (Amazon Bedrock API Reference, `CountTokens`), which is only known of Claude's models.
pub(super) fn count(request: &Request, target: &Target<'_>) -> Option<Result<Sent, Unfit>> {
    Model::of(target.model).is_claude().then(|| counting(request, target))
}

fn counting(request: &Request, target: &Target<'_>) -> Result<Sent, Unfit> {
    let asked = chat(request, target)?;
    let mut body: Map<String, Value> = serde_json::from_slice(&asked.body).unwrap_or_default();
    body.retain(|name, _| matches!(&**name, "messages" | "system" | "toolConfig"));
    // It is asked of the model itself, and not of an inference profile that leads to it.
    let model = target.model;
    let model = if model.starts_with("arn:") { model } else { &model[model.find("anthropic").unwrap_or(0)..] };
    Ok(Sent {
        path: path(model, "count-tokens"),
        body: json!({ "input": { "converse": body } }).to_string().into_bytes(),
        stream: false,
        ..asked
    })
}

/// An operation's path. Ids of models may be ARNs, so everything in them but unreserved characters (RFC 3986, 2.3) is
/// encoded, which is also what is signed.
pub(super) fn path(model: &str, operation: &str) -> String {
    let mut path = "/model/".to_owned();
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02X}").expect("a string takes everything");
        }
    }
    path.push('/');
    path.push_str(operation);
    path
}
