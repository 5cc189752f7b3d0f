//! One request to one answer: paths, bodies, and which of them wait.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::sleep_until;

use super::Settings;
use super::body::{Body, Pace};
use super::chat::Chat;
use super::completions::Completion;
use super::objects::{self, FAST_MODEL};
use super::respond::{Birth, REQUEST_ID, Refusal, events, list, object, typed};
use super::response_stream::ResponseStream;
use super::responses::Answer;
use super::store::Store;
use super::{embeddings, media};

/// Bytes of a request body.
const BODY_BYTES_MAX: usize = 64 << 20;

/// What all requests share: the settings, and what is remembered between requests.
#[derive(Debug)]
pub(super) struct State {
    settings: Settings,
    /// Stored responses, files and batches.
    pub(super) store: RefCell<Store>,
}

impl State {
    /// Nothing remembered yet.
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, store: RefCell::default() }
    }

    fn pace(&self, model: &str) -> Pace {
        if model == FAST_MODEL {
            return Pace::none();
        }
        Pace::new(self.settings.first_token, self.settings.tokens_per_second)
    }
}

/// Answers one request; every failure becomes an answer too.
pub(super) async fn answer(state: &Rc<State>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut response = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => route(state, &head.method, head.uri.path(), body.to_bytes()).await,
        Err(_) => Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is broken or too large")),
    }
    .unwrap_or_else(Refusal::into_response);
    if let Ok(id) = HeaderValue::from_str(&Birth::now().id("req_")) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

type Answered = Result<Response<Body>, Refusal>;

async fn route(state: &Rc<State>, method: &Method, path: &str, body: Bytes) -> Answered {
    let Some(path) = path.strip_prefix("/v1/") else {
        return Err(unknown(method, path));
    };
    let parts: Vec<&str> = path.split('/').collect();
    if method == Method::POST {
        return post(state, &parts, &body).await;
    }
    let store = &state.store;
    match (method, parts.as_slice()) {
        (&Method::GET, ["models"]) => Ok(objects::models()),
        (&Method::GET, ["models", name]) => Ok(object(&objects::model_object(name))),
        (&Method::GET, ["responses", id]) => found(store.borrow().response(id), "response", id),
        (&Method::GET, ["responses", id, "input_items"]) => {
            let items = store.borrow().input_items(id);
            items.as_deref().map(list).ok_or_else(|| Refusal::missing("response", id))
        }
        (&Method::DELETE, ["responses", id]) => removed(store.borrow_mut().remove_response(id), "response", id),
        (&Method::GET, ["files"]) => Ok(list(&store.borrow().files.list())),
        (&Method::GET, ["files", id]) => found(store.borrow().files.get(id), "file", id),
        (&Method::DELETE, ["files", id]) => removed(store.borrow_mut().files.remove(id), "file", id),
        (&Method::GET, ["batches"]) => Ok(list(&store.borrow().batches.list())),
        (&Method::GET, ["batches", id]) => found(store.borrow().batches.get(id), "batch", id),
        _ => Err(unknown(method, path)),
    }
}

async fn post(state: &Rc<State>, parts: &[&str], body: &Bytes) -> Answered {
    match parts {
        ["chat", "completions"] => chat(state, &parse(body)?).await,
        ["completions"] => completion(state, &parse(body)?).await,
        ["responses"] => response(state, &parse(body)?).await,
        ["responses", id, "cancel"] => {
            let cancelled = state.store.borrow_mut().cancel_response(id);
            found(cancelled.as_ref(), "response", id)
        }
        ["embeddings"] => {
            let answer = embeddings::answer(&parse(body)?)?;
            Ok(typed("application/json", Body::whole(answer)))
        }
        ["moderations"] => Ok(objects::moderations(&parse(body)?)),
        ["rerank"] => objects::rerank(&parse(body)?),
        ["images", "generations"] => {
            let n = parse(body)?.get("n").and_then(Value::as_u64);
            Ok(media::images(n.unwrap_or(1)))
        }
        ["images", "edits" | "variations"] => Ok(media::images(1)),
        ["audio", "speech"] => parse(body).map(|_| media::speech()),
        ["audio", "transcriptions" | "translations"] => Ok(media::transcription(body)),
        ["files"] => objects::create_file(body, &mut state.store.borrow_mut()),
        ["batches"] => objects::create_batch(&parse(body)?, &mut state.store.borrow_mut()),
        _ => Err(unknown(&Method::POST, &parts.join("/"))),
    }
}

async fn chat(state: &State, body: &Value) -> Answered {
    let chat = Chat::new(body, state.settings.seed)?;
    let pace = state.pace(&chat.ask.model);
    if chat.ask.stream {
        return Ok(events(Body::paced(Box::new(chat), pace)));
    }
    sleep_until(pace.due(chat.longest())).await;
    Ok(typed("application/json", Body::whole(chat.whole())))
}

async fn completion(state: &State, body: &Value) -> Answered {
    let completion = Completion::new(body, state.settings.seed)?;
    let pace = state.pace(&completion.ask.model);
    if completion.ask.stream {
        return Ok(events(Body::paced(Box::new(completion), pace)));
    }
    sleep_until(pace.due(completion.longest())).await;
    Ok(typed("application/json", Body::whole(completion.whole())))
}

async fn response(state: &Rc<State>, body: &Value) -> Answered {
    if let Some(id) = body.get("previous_response_id").and_then(Value::as_str)
        && state.store.borrow().response(id).is_none()
    {
        return Err(Refusal::missing("response", id));
    }
    let answer = Answer::new(body, state.settings.seed)?;
    let pace = state.pace(&answer.ask.model);
    if answer.stored {
        let input = answer.input_items(body);
        state.store.borrow_mut().put_response(&answer.object("in_progress"), &input);
    }
    if answer.ask.stream {
        let stream = ResponseStream::new(answer, Rc::clone(state));
        return Ok(events(Body::paced(Box::new(stream), pace)));
    }
    sleep_until(pace.due(answer.reply.tokens.len())).await;
    let whole = answer.object(answer.status());
    state.store.borrow_mut().finish_response(&answer.id(), whole.clone());
    Ok(object(&whole))
}

fn parse(body: &Bytes) -> Result<Value, Refusal> {
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err(Refusal::new(StatusCode::BAD_REQUEST, "We could not parse the JSON body of your request.")),
    }
}

fn found(value: Option<&Value>, what: &str, id: &str) -> Answered {
    value.map(object).ok_or_else(|| Refusal::missing(what, id))
}

fn removed(was_there: bool, what: &str, id: &str) -> Answered {
    if was_there {
        Ok(object(&json!({"id": id, "object": what, "deleted": true})))
    } else {
        Err(Refusal::missing(what, id))
    }
}

fn unknown(method: &Method, path: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("Unknown request URL: {method} {path}."))
}
