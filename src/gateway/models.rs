//! What the gateway answers itself: the models that its caller may use, in the caller's dialect.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};

use super::call::Call;
use super::worker::Worker;
use crate::api::dialect::Dialect;
use crate::api::endpoint::Endpoint;
use crate::api::models;
use crate::config::Capability;
use crate::error::{Error, Kind};
use crate::stream::Body;

/// The answer, if it is ours to give.
pub(super) fn answer(worker: &Worker, call: &Call) -> Option<Result<Response<Body>, Error>> {
    let body = match (call.endpoint, call.record.dialect) {
        (Endpoint::Models | Endpoint::GeminiModels, dialect) => match dialect {
            Dialect::Anthropic => models::anthropic_list(names(worker, call)),
            Dialect::Gemini => models::gemini_list(names(worker, call)),
            Dialect::OpenAi | Dialect::Ollama => {
                models::list(visible(worker, call).map(|(id, owner)| (id, owner, facts(worker, id))))
            }
        },
        (Endpoint::Model | Endpoint::GeminiModel, dialect) => {
            return Some(named(worker, call, |id, owner| match dialect {
                Dialect::Anthropic => models::anthropic_item(id),
                Dialect::Gemini => models::gemini_item(id),
                Dialect::OpenAi | Dialect::Ollama => models::item(id, owner, facts(worker, id)),
            }));
        }
        (Endpoint::OllamaTags, _) => models::ollama_tags(names(worker, call)),
        (Endpoint::OllamaVersion, _) => models::ollama_version(),
        _ => return None,
    };
    Some(Ok(json(body)))
}

/// The models that this caller may use, each with its owner.
fn visible<'a>(worker: &'a Worker, call: &'a Call) -> impl Iterator<Item = (&'a str, &'a str)> {
    let keys = &worker.snapshot.keys;
    let key = call.principal.key();
    worker.snapshot.table.names().filter(move |(model, _)| key.is_none_or(|key| keys.allows(key, model)))
}

/// What every target of the model's route has.
fn facts(worker: &Worker, model: &str) -> models::Facts {
    let Some(route) = worker.snapshot.table.resolve(model) else { return models::Facts::default() };
    let facts = worker.snapshot.config.facts_of(&route.rules, model);
    models::Facts {
        context_length: facts.context,
        max_output_tokens: facts.output,
        capabilities: facts.capabilities.map(|all| all.into_iter().map(Capability::name).collect()),
    }
}

fn names<'a>(worker: &'a Worker, call: &'a Call) -> impl Iterator<Item = &'a str> {
    visible(worker, call).map(|(model, _)| model)
}

/// The one that the path names.
fn named(worker: &Worker, call: &Call, form: impl Fn(&str, &str) -> Bytes) -> Result<Response<Body>, Error> {
    let id = call.item.as_deref().unwrap_or_default();
    let (model, owner) = visible(worker, call).find(|(model, _)| *model == id).ok_or_else(|| {
        let detail = format!("The model '{id}' does not exist or you do not have access to it.");
        Error::new(Kind::ModelNotFound, detail).with_param("model")
    })?;
    Ok(json(form(model, owner)))
}

fn json(body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
