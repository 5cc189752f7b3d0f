//! A request whose meaning is known. Required context is a field: what a later step needs, an earlier one
//! has proved.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use tokio::time::Instant;

use crate::accounting::permit::Permit;
use crate::api::edit::{self, Changes};
use crate::api::endpoint::{Endpoint, ModelField};
use crate::api::form::{self, FormModel};
use crate::api::gemini;
use crate::api::request::Fields;
use crate::middleware::Record;
use crate::middleware::auth::Principal;
use crate::routing::gate::Class;

/// One decoded request.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) endpoint: Endpoint,
    /// The id in the path, where the endpoint has one.
    pub(super) item: Option<Rc<str>>,
    pub(super) method: Method,
    /// Path and query below the version, without any credential.
    pub(super) path_and_query: Rc<str>,
    /// Those that go on to an upstream.
    pub(super) headers: Rc<HeaderMap>,
    /// Who goes first where requests wait for a target.
    pub(super) class: Class,
    /// The upstream that the client has chosen.
    pub(super) upstream: Option<HeaderValue>,
    pub(super) content: Content,
    pub(super) principal: Principal,
    pub(super) record: Rc<Record>,
    /// When the body was complete.
    pub(super) decoded_at: Instant,
}

/// The body as it came, and what was read of it.
#[derive(Debug)]
pub(super) enum Content {
    /// A JSON object.
    Json(Bytes, Fields),
    /// A form with files.
    Form(Bytes, FormModel),
    /// Of no interest to routing.
    Opaque(Bytes),
}

/// A call that the limits let through. Only admission makes one.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) call: Rc<Call>,
    /// Held until the last byte of the answer.
    pub(super) permit: Permit,
}

impl Call {
    /// The model asked for, if the request names one.
    pub(super) fn model(&self) -> Option<&str> {
        if matches!(self.endpoint.model_field(), ModelField::Path | ModelField::Query) {
            return self.item.as_deref();
        }
        match &self.content {
            Content::Json(_, fields) => fields.model(),
            Content::Form(_, form) => form.name(),
            Content::Opaque(_) => None,
        }
    }

    /// Every model that the client would take, in its order.
    pub(super) fn models(&self) -> impl Iterator<Item = &str> {
        let (listed, single) = match &self.content {
            Content::Json(_, fields) if self.endpoint.model_field() == ModelField::Json => (Some(fields), None),
            _ => (None, self.model()),
        };
        listed.into_iter().flat_map(Fields::models).chain(single)
    }

    /// The body, if it is JSON.
    pub(super) fn json(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Json(bytes, _) => Some(bytes),
            Content::Form(..) | Content::Opaque(_) => None,
        }
    }

    /// Whether the client asked for a stream on a surface where that is ours to know.
    pub(super) fn streams(&self) -> bool {
        self.endpoint == Endpoint::StreamGenerateContent
            || self.endpoint.may_stream() && matches!(&self.content, Content::Json(_, fields) if fields.stream())
    }

    /// Choices that each must finish.
    pub(super) fn choices(&self) -> u32 {
        match &self.content {
            Content::Json(_, fields) => fields.n(),
            Content::Form(..) | Content::Opaque(_) => 1,
        }
    }

    /// Path and query for an upstream of the same dialect that calls the model so.
    pub(super) fn path_for(&self, model: Option<&str>) -> Rc<str> {
        match model {
            Some(model) if self.endpoint.model_field() == ModelField::Path && self.model() != Some(model) => {
                gemini::rename(&self.path_and_query, model).into()
            }
            _ => Rc::clone(&self.path_and_query),
        }
    }

    /// Whether a usage chunk is one that we asked for, and not the client.
    pub(super) fn adds_usage(&self) -> bool {
        self.streams()
            && self.endpoint.takes_include_usage()
            && matches!(&self.content, Content::Json(_, fields) if !fields.asks_usage())
    }

    /// The body for one target: the bytes as they came, but for `changes`; the usage option is added only where the
    /// client leaves it out.
    pub(super) fn body(&self, mut changes: Changes<'_>) -> Bytes {
        changes.include_usage &= self.adds_usage();
        match &self.content {
            Content::Json(bytes, fields) => edit::edit(bytes, fields, &changes),
            Content::Form(bytes, form) => match changes.model {
                Some(model) => form::rename(bytes, form, model),
                None => bytes.clone(),
            },
            Content::Opaque(bytes) => bytes.clone(),
        }
    }
}
