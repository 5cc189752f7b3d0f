//! What an upstream speaks, and where it is: `kind`, `preset`, `base_url` and what takes its place.

use super::check_defaults;
use super::kind::PRESETS;
use super::problem::did_you_mean;
use super::raw::{Table, Value};
use super::{BaseUrl, BodyDefault, OpenAiApi, Preset, UpstreamKind};

/// What the file says of an upstream's dialect.
pub(super) struct Spoken {
    pub(super) preset: Option<Preset>,
    pub(super) base: Option<BaseUrl>,
    pub(super) api: OpenAiApi,
    pub(super) responses: bool,
    pub(super) api_version: Option<String>,
    pub(super) extra_body: Vec<BodyDefault>,
}

/// Reads what is said beside the `kind` of an upstream that is at `place` where its settings say so.
pub(super) fn spoken(table: &mut Table<'_>, kind: UpstreamKind, place: Option<&str>) -> Spoken {
    let is_openai = kind == UpstreamKind::OpenAi;
    let preset = table.take("preset").and_then(|value| preset(&value, kind));
    let api = table.take("api").and_then(|value| {
        let words = [("chat", OpenAiApi::Chat), ("responses", OpenAiApi::Responses)];
        value.choice(&words).filter(|_| is_meant_for(&value, &[UpstreamKind::OpenAi, UpstreamKind::Azure], kind))
    });
    let responses = table.flag("responses", preset.is_none_or(|preset| preset.responses));
    let api_version = table.take("api_version").and_then(|value| {
        let text = value.text()?;
        let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
        if !is_plain {
            value.refuse("not a version".to_owned(), "write such as \"2024-10-21\"".to_owned());
            return None;
        }
        is_meant_for(&value, &[UpstreamKind::Azure], kind).then_some(text)
    });
    let base = match kind {
        UpstreamKind::Demo => None,
        UpstreamKind::Azure => azure(table, api_version.is_some()),
        UpstreamKind::Vertex | UpstreamKind::Bedrock => placed(table, place),
        _ => {
            let usual = preset.map(|preset| preset.base_url).or_else(|| kind.base_url());
            base(table, usual)
        }
    };
    Spoken {
        preset: preset.filter(|_| is_openai),
        base,
        api: api.unwrap_or(OpenAiApi::Chat),
        responses,
        api_version,
        extra_body: extra_body(table),
    }
}

/// `extra_body` of an upstream or a target.
pub(super) fn extra_body(table: &mut Table<'_>) -> Vec<BodyDefault> {
    check_defaults::members(table, "extra_body")
}

/// `kind`
pub(super) fn kind(table: &mut Table<'_>) -> UpstreamKind {
    let Some(value) = table.take("kind") else { return UpstreamKind::OpenAi };
    let Some(text) = value.text() else { return UpstreamKind::OpenAi };
    if let Some((_, kind)) = UpstreamKind::ALL.iter().find(|(name, _)| *name == text) {
        return *kind;
    }
    let names: Vec<&str> = UpstreamKind::ALL.iter().map(|(name, _)| *name).collect();
    let remedy = match PRESETS.iter().find(|preset| preset.name == text) {
        Some(preset) => format!("write preset = \"{}\" in its place: it speaks OpenAI's API", preset.name),
        None => format!("write \"{}\"", names.join("\" or \"")),
    };
    value.refuse("not one of the choices".to_owned(), remedy);
    UpstreamKind::OpenAi
}

fn preset(value: &Value<'_>, kind: UpstreamKind) -> Option<Preset> {
    let text = value.text()?;
    if !is_meant_for(value, &[UpstreamKind::OpenAi], kind) {
        return None;
    }
    let found = PRESETS.iter().find(|preset| preset.name == text);
    if found.is_none() {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        value.refuse("there is no such preset".to_owned(), did_you_mean(&text, &names));
    }
    found.copied()
}

fn is_meant_for(value: &Value<'_>, kinds: &[UpstreamKind], kind: UpstreamKind) -> bool {
    let is_meant = kinds.contains(&kind);
    if !is_meant {
        let what = format!("an upstream of kind \"{}\" has none", kind.name());
        value.refuse_unseen(what, "remove it".to_owned());
    }
    is_meant
}

/// `base_url`, or the `usual` one.
fn base(table: &mut Table<'_>, usual: Option<&str>) -> Option<BaseUrl> {
    match usual {
        Some(usual) => match table.take("base_url") {
            Some(value) => base_url(&value),
            None => usual.parse().ok(),
        },
        None => table.require("base_url", "\"https://api.openai.com/v1\"").and_then(|value| base_url(&value)),
    }
}

/// `base_url`, not repeated in problems because it may hold a password.
fn base_url(value: &Value<'_>) -> Option<BaseUrl> {
    let base = value.text_unseen()?.parse();
    base.map_err(|what| {
        value.refuse_unseen(what, "write such as \"https://api.openai.com/v1\"".to_owned());
    })
    .ok()
}

/// The resource's address; without a path, that of the API.
fn azure(table: &mut Table<'_>, is_dated: bool) -> Option<BaseUrl> {
    let value = table.require("base_url", "\"https://NAME.openai.azure.com\"")?;
    let mut base = base_url(&value)?;
    if base.path.is_empty() {
        let path = if is_dated { "/openai" } else { "/openai/v1" };
        path.clone_into(&mut base.path);
    }
    Some(base)
}

/// Where the settings say, if they do; `base_url` may say another host.
fn placed(table: &mut Table<'_>, place: Option<&str>) -> Option<BaseUrl> {
    let place = place.and_then(|place| place.parse::<BaseUrl>().ok());
    let Some(value) = table.take("base_url") else { return place };
    let mut base = base_url(&value)?;
    if base.path.is_empty() {
        base.path = place.map(|place| place.path).unwrap_or_default();
    }
    Some(base)
}
