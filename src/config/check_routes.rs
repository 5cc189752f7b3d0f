//! `[[routes]]` and `[routing]`: names of models and of upstreams, which must exist.

use std::collections::HashSet;

use toml::de::DeValue;

use super::check::bounded;
use super::check_keys::model;
use super::problem::did_you_mean;
use super::raw::{Table, Value};
use super::{Route, Target};

/// Targets of one route: more would try a client's patience, not the upstreams.
const TARGETS_MAX: usize = 16;

/// Every route of the file; without any, `*` to the first upstream.
pub(super) fn routes(root: &mut Table<'_>, upstreams: &[Option<String>]) -> Vec<Route> {
    let mut seen = HashSet::new();
    let tables = bounded(root, "routes");
    if tables.is_empty() {
        return vec![Route { model: "*".to_owned(), targets: vec![Target { upstream: 0, model: None }] }];
    }
    let mut routes = Vec::with_capacity(tables.len());
    for mut table in tables {
        let model = table.require("model", "\"*\"").and_then(|value| {
            let model = model(&value)?;
            if !seen.insert(model.clone()) {
                let remedy = "put the targets of both into one route";
                value.refuse("an earlier route has the same model".to_owned(), remedy.to_owned());
            }
            Some(model)
        });
        let example = format!("[\"{}\"]", upstreams.iter().flatten().next().map_or("openai", String::as_str));
        let targets = table.require("targets", &example).map(|value| targets(&value, upstreams));
        routes.push(Route { model: model.unwrap_or_default(), targets: targets.unwrap_or_default() });
    }
    routes
}

/// `routing.default_upstream`: the first upstream unless the file says otherwise; `None` for `"off"`.
pub(super) fn default_upstream(table: &mut Table<'_>, upstreams: &[Option<String>]) -> Option<usize> {
    match table.take("default_upstream") {
        None => Some(0),
        Some(value) if value.is("off") => None,
        Some(value) => position(&value, upstreams),
    }
}

/// `routes.targets`: names of upstreams, or tables of `upstream` and `model`.
fn targets(value: &Value<'_>, upstreams: &[Option<String>]) -> Vec<Target> {
    let elements = value.elements();
    if elements.is_empty() || elements.len() > TARGETS_MAX {
        let remedy = format!("write 1 to {TARGETS_MAX} targets");
        value.refuse_unseen(format!("a route with {} targets", elements.len()), remedy);
    }
    elements.iter().take(TARGETS_MAX).filter_map(|element| target(element, upstreams)).collect()
}

fn target(value: &Value<'_>, upstreams: &[Option<String>]) -> Option<Target> {
    if matches!(value.raw(), DeValue::String(_)) {
        return Some(Target { upstream: position(value, upstreams)?, model: None });
    }
    let mut table = value.table("write \"openai\" or { upstream = \"openai\", model = \"gpt-4.1\" }")?;
    let upstream = table.require("upstream", "\"openai\"").and_then(|value| position(&value, upstreams));
    let model = table.take("model").and_then(|value| model(&value));
    Some(Target { upstream: upstream?, model })
}

/// The position of the upstream that `value` names.
fn position(value: &Value<'_>, upstreams: &[Option<String>]) -> Option<usize> {
    let name = value.text()?;
    let found = upstreams.iter().position(|upstream| upstream.as_ref() == Some(&name));
    if found.is_none() {
        let known: Vec<&str> = upstreams.iter().flatten().map(String::as_str).collect();
        value.refuse("there is no such upstream".to_owned(), did_you_mean(&name, &known));
    }
    found
}
