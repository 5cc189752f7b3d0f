//! How a call is put to one target: as it came, where both speak the same dialect, else translated.

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;

use super::attempt::Begun;
use super::authorize::authorize;
use super::call::Call;
use super::native::{self, Native};
use super::plan::Leg;
use super::worker::Worker;
use crate::api::edit::Changes;
use crate::api::prefill;
use crate::config::{Unsupported, Upstream};
use crate::dialects::{self, Asked, Lost, Place, Refusal, Sent, Task, Translator, Unfit};
use crate::error::{Error, Kind};
use crate::routing::table::Target;
use crate::upstream::Request;

/// What is sent, and what is to be done with the answer.
pub(super) struct Leaving {
    pub(super) request: Request,
    /// Who translates the answer; `None`: nobody.
    pub(super) translator: Option<Box<Translator>>,
    /// What the client has asked for and the target is not told, by the client's names.
    pub(super) dropped: Vec<String>,
}

/// A call on its way to a target.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) worker: &'a Worker,
    pub(super) call: &'a Call,
    pub(super) leg: &'a Leg,
    pub(super) target: &'a Target,
}

impl Way<'_> {
    fn upstream(&self) -> &Upstream {
        &self.worker.snapshot.config.upstreams[self.target.upstream.index()]
    }

    /// The target's name of the model.
    fn model(&self) -> &str {
        let asked = || self.leg.model().or_else(|| self.call.model()).unwrap_or_default();
        self.target.model.as_deref().unwrap_or_else(asked)
    }

    /// The request, with the rest of the answer asked for if it has `begun` elsewhere.
    ///
    /// # Errors
    /// When this target can't be asked that, in words for the client.
    pub(super) fn leave(&self, begun: Option<&Begun>) -> Result<Leaving, Error> {
        let mut leaving = match native::form(self.upstream(), self.call, self.model()) {
            Some(native) => self.as_it_came(native, begun)?,
            None if begun.is_some() => {
                return Err(Error::new(Kind::NoTarget, "the target can't be asked to go on"));
            }
            None => self.translated()?,
        };
        // Last: signatures cover what is sent.
        authorize(self.worker, self.target.upstream, &mut leaving.request).map_err(|not_ready| {
            Error::new(Kind::NoTarget, "there are no credentials for the upstream").with_source(not_ready)
        })?;
        Ok(leaving)
    }

    fn as_it_came(&self, native: Native, begun: Option<&Begun>) -> Result<Leaving, Error> {
        let model = self.target.model.as_deref().or_else(|| self.leg.model());
        let include_usage = self.upstream().include_usage;
        let mut body = self.call.body(Changes { model, include_usage, defaults: self.body_defaults() });
        if let Some(begun) = begun {
            let cannot = || Error::new(Kind::NoTarget, "the target can't be asked to go on");
            let style = self.target.prefill.ok_or_else(cannot)?.into();
            body = prefill::body(&body, &begun.text, style, begun.tokens).ok_or_else(cannot)?;
        }
        let body = (native.edit)(body, model.unwrap_or_default());
        let body = self.with_extras(body)?;
        let mut headers = self.headers();
        native::add_headers(self.upstream(), &mut headers);
        let request = self.request(native.path, headers, body);
        Ok(Leaving { request, translator: None, dropped: Vec::new() })
    }

    /// What the route adds to a body that lacks it, in the client's dialect.
    fn body_defaults(&self) -> Vec<(&str, &str)> {
        self.leg.body_defaults()
    }

    /// The client's headers, with those that the route adds.
    fn headers(&self) -> Rc<HeaderMap> {
        let defaults = &self.leg.config().defaults.headers;
        let mut headers = Rc::clone(&self.call.headers);
        if !defaults.is_empty() {
            let headers = Rc::make_mut(&mut headers);
            for (name, value) in defaults {
                if !headers.contains_key(name) {
                    headers.insert(name, value.clone());
                }
            }
        }
        headers
    }

    fn request(&self, path_and_query: Rc<str>, headers: Rc<HeaderMap>, body: Bytes) -> Request {
        Request {
            method: self.call.method.clone(),
            path_and_query,
            headers,
            credentials: Vec::new(),
            body,
            streams: self.call.streams(),
        }
    }

    fn translated(&self) -> Result<Leaving, Error> {
        let unserved = || {
            let detail = format!(
                "The provider of the model '{}' has nothing that {} could be translated to.",
                self.model(),
                self.call.endpoint.name()
            );
            Error::new(Kind::BadRequest, detail)
        };
        let provider = dialects::provider(self.upstream(), self.model());
        let front = dialects::front(self.call.endpoint).ok_or_else(unserved)?;
        let unique = format!("{:016x}{:016x}", self.worker.random(), self.worker.random());
        let target = dialects::Target { model: self.model(), unique: &unique };
        let raw = self.call.body(Changes { model: None, include_usage: false, defaults: self.body_defaults() });
        let place = Place { model: self.call.model(), stream: Some(self.call.streams()) };
        let mut asked = Asked {
            request: dialects::conversation::Request::default(),
            unique: unique.clone(),
            now: wall_clock(),
            request_id: self.call.record.id.to_string(),
        };
        let (mut sent, task) = if let Some(embed) = dialects::embed_front(self.call.endpoint) {
            let request = (embed.read)(&raw, &place).map_err(refused)?;
            (provider.embed(&request, &target).map_err(unfit)?, Task::Embeddings(request, embed.write))
        } else if let Some(count) = dialects::count_front(self.call.endpoint) {
            let request = (count.read)(&raw, &place).map_err(refused)?;
            let sent = provider.count(&request, &target).ok_or_else(unserved)?.map_err(unfit)?;
            (sent, Task::Count(count.write))
        } else {
            asked.request = front.read(&raw, &place).map_err(refused)?;
            (provider.chat(&asked.request, &target).map_err(unfit)?, Task::Answer)
        };
        let dropped = self.dropped(&sent.lost)?;
        let request = self.translated_request(&mut sent)?;
        let translator = Translator::new((front, provider), Rc::new(asked), Rc::new(sent), task);
        Ok(Leaving { request, translator: Some(Box::new(translator)), dropped })
    }

    /// What the target is not told, unless the route wants such requests refused.
    fn dropped(&self, lost: &[Lost]) -> Result<Vec<String>, Error> {
        let refuses = self.leg.config().unsupported == Unsupported::Refuse;
        let matters: Vec<&str> =
            lost.iter().filter(|lost| refuses && !lost.is_hint).map(|lost| lost.name.as_str()).collect();
        if let Some(first) = matters.first() {
            let detail =
                format!("The provider of the model '{}' can't honour: {}.", self.model(), matters.join(", "));
            return Err(Error::new(Kind::BadRequest, detail).with_param((*first).to_owned()));
        }
        Ok(lost.iter().map(|lost| lost.name.clone()).collect())
    }

    fn translated_request(&self, sent: &mut Sent) -> Result<Request, Error> {
        let mut headers = self.headers();
        let own = Rc::make_mut(&mut headers);
        native::remove_dialect(own);
        own.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // What is to be translated must be read.
        own.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        own.remove(ACCEPT);
        for (name, value) in &sent.headers {
            own.insert(name, value.clone());
        }
        let body = self.with_extras(Bytes::from(std::mem::take(&mut sent.body)))?;
        let path = native::azure_path(self.upstream(), self.model(), &sent.path);
        Ok(Request { method: Method::POST, ..self.request(path.into(), headers, body) })
    }

    /// The body with the members that the target gets on top of it. Only then it is read as a document.
    fn with_extras(&self, body: Bytes) -> Result<Bytes, Error> {
        let extras = &self.target.extra_body;
        if extras.is_empty() || body.is_empty() {
            return Ok(body);
        }
        let Ok(mut document) = serde_json::from_slice::<Value>(&body) else { return Ok(body) };
        for extra in extras.iter() {
            let value = serde_json::from_str(&extra.json).map_err(|_| Error::new(Kind::Internal, "an extra"))?;
            merge(&mut document, &extra.name, value);
        }
        Ok(document.to_string().into())
    }
}

/// Sets `name` in an object; of two objects, the members of the new one are set in the old.
fn merge(document: &mut Value, name: &str, value: Value) {
    let Some(object) = document.as_object_mut() else { return };
    match (object.get_mut(name), value) {
        (Some(old @ Value::Object(_)), Value::Object(new)) => {
            for (name, value) in new {
                merge(old, &name, value);
            }
        }
        (_, value) => {
            object.insert(name.to_owned(), value);
        }
    }
}

/// Seconds since 1970, for answers whose provider tells no time.
#[expect(clippy::disallowed_methods, reason = "it is told to people, and nothing is decided by it")]
fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A request that the client has made in a wrong way.
pub(super) fn refused(refusal: Refusal) -> Error {
    let error = Error::new(Kind::BadRequest, refusal.message);
    match refusal.param {
        Some(param) => error.with_param(param),
        None => error,
    }
}

fn unfit(unfit: Unfit) -> Error {
    let error = Error::new(Kind::BadRequest, unfit.message);
    match unfit.param {
        Some(param) => error.with_param(param),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn extras_are_set_inside_objects_that_are_there() {
        let mut document = json!({ "a": { "b": 1, "c": [1] }, "d": 2 });
        merge(&mut document, "a", json!({ "b": 2, "e": { "f": 3 } }));
        merge(&mut document, "d", json!({ "x": 1 }));
        merge(&mut document, "g", json!(null));
        let expected = json!({ "a": { "b": 2, "c": [1], "e": { "f": 3 } }, "d": { "x": 1 }, "g": null });
        assert_eq!(document, expected);
    }
}
