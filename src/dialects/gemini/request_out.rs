//! From the common form to a request of Google's.

use serde_json::Value;

use super::Cloud;
use super::contents_out::Contents;
use super::fields::object;
use super::model::Model;
use super::settings_out::{generation, labels, tier, tool_config, tools};
use crate::dialects::conversation::{Open, Request, Wish};
use crate::dialects::{Lost, Sent, Target, Unfit};

/// Writes a request for an answer.
pub(super) fn chat(request: &Request, target: &Target<'_>, cloud: Cloud) -> Result<Sent, Unfit> {
    let model = Model::of(target.model, cloud);
    let open = request.wishes.open();
    let (body, mut lost) = body(request, &open, &model, cloud)?;
    lost.extend(Lost::of_wishes(open.left()));
    let path = if request.stream {
        format!("{}?alt=sse", model.path("streamGenerateContent"))
    } else {
        model.path("generateContent")
    };
    let body = body.to_string().into_bytes();
    let unique = target.unique.to_owned();
    Ok(Sent { path, body, lost, stream: request.stream, unique, ..Sent::default() })
}

/// Writes a request for the number of tokens of a prompt. The settings of the answer do not count.
pub(super) fn count(request: &Request, target: &Target<'_>, cloud: Cloud) -> Result<Sent, Unfit> {
    let model = Model::of(target.model, cloud);
    let mut contents = Contents::of(&request.messages, &model)?;
    let system = contents.take_system();
    let open = request.wishes.open();
    let whole = object([
        ("model", (cloud == Cloud::Api).then(|| model.resource().into())),
        ("systemInstruction", system),
        ("tools", tools(request, &open)),
        ("contents", Some(Value::Array(std::mem::take(&mut contents.turns)))),
    ]);
    let body = match cloud {
        Cloud::Api => object([("generateContentRequest", Some(whole))]),
        Cloud::Vertex => whole,
    };
    let path = model.path("countTokens");
    let lost = contents.take_lost();
    Ok(Sent { path, body: body.to_string().into_bytes(), lost, ..Sent::default() })
}

fn body(request: &Request, open: &Open<'_>, model: &Model, cloud: Cloud) -> Result<(Value, Vec<Lost>), Unfit> {
    let mut contents = Contents::of(&request.messages, model)?;
    let system = contents.take_system();
    let mut lost = contents.take_lost();
    if request.tools.iter().any(|tool| tool.cache.is_some()) && lost.iter().all(|lost| !lost.is_hint) {
        lost.push(Lost { name: "cache_control".to_owned(), is_hint: true });
    }
    let config = generation(request, open, model, &mut lost);
    let is_empty = config.as_object().is_some_and(serde_json::Map::is_empty);
    let body = object([
        ("systemInstruction", system),
        ("tools", tools(request, open)),
        ("toolConfig", tool_config(request, open, model)),
        ("contents", Some(Value::Array(contents.turns))),
        ("generationConfig", (!is_empty).then_some(config)),
        ("safetySettings", open.take(Wish::Safety).cloned()),
        ("serviceTier", tier(open, request)),
        ("labels", labels(open, request, cloud)),
    ]);
    Ok((body, lost))
}
