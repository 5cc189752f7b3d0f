//! Where a route goes: names of upstreams and of their keys, which must exist.

use std::collections::HashMap;

use super::check_keys::model;
use super::check_upstreams::prefill;
use super::problem::did_you_mean;
use super::raw::{Table, Value};
use super::{BodyDefault, Prefill, Target, Upstream, check_kind, defaults};

/// Targets of one route that are tried in order, and its tiers: more would try a client's patience, not the
/// upstreams.
const TIERS_MAX: usize = 16;

/// Targets of one tier: a large fleet of model servers.
const TIER_TARGETS_MAX: usize = 64;

/// What a target says of the model of an upstream: the same wherever it stands.
type Said = (Option<Prefill>, Vec<BodyDefault>);

/// Reads the targets of all routes.
pub(super) struct Targets<'a> {
    upstreams: &'a [Upstream],
    /// What targets have said of the models of upstreams.
    said: HashMap<(usize, Option<String>), Said>,
}

/// What a target needs to know of its route.
#[derive(Clone, Copy, Default)]
pub(super) struct Aliased<'a> {
    /// The model that a target without one of its own is asked for, so that no alias reaches an upstream.
    pub(super) model: Option<&'a str>,
    /// Whether there is no such model, so that every target must have its own.
    pub(super) must_name: bool,
}

impl<'a> Targets<'a> {
    pub(super) fn new(upstreams: &'a [Upstream]) -> Self {
        Self { upstreams, said: HashMap::new() }
    }

    /// `routes.targets` or `routes.tiers`.
    pub(super) fn tiers(&mut self, table: &mut Table<'_>, aliased: Aliased<'_>) -> Vec<Vec<Target>> {
        if let Some(value) = table.take("tiers") {
            if let Some(targets) = table.take("targets") {
                let remedy = "remove one of the two";
                targets.refuse_unseen("a route has targets or tiers".to_owned(), remedy.to_owned());
            }
            return self.written_tiers(&value, aliased);
        }
        let first = self.upstreams.iter().map(|upstream| upstream.name.as_str()).find(|name| !name.is_empty());
        let example = format!("[\"{}\"]", first.unwrap_or("openai"));
        let Some(value) = table.require("targets", &example) else { return Vec::new() };
        let elements = value.elements();
        if elements.is_empty() || elements.len() > TIERS_MAX {
            let remedy = format!("write 1 to {TIERS_MAX} targets");
            value.refuse_unseen(format!("a route with {} targets", elements.len()), remedy);
        }
        let targets = elements.iter().take(TIERS_MAX).filter_map(|element| self.target(element, aliased, false));
        targets.map(|target| vec![target]).collect()
    }

    fn written_tiers(&mut self, value: &Value<'_>, aliased: Aliased<'_>) -> Vec<Vec<Target>> {
        let elements = value.elements();
        if !value.is_array() || elements.iter().any(|element| !element.is_array()) {
            let remedy = "write such as [[\"a\", \"b\"], [\"c\"]]: first a or b, then c";
            value.refuse_unseen("expected an array of tiers, each an array".to_owned(), remedy.to_owned());
            return Vec::new();
        }
        if elements.is_empty() || elements.len() > TIERS_MAX {
            let remedy = format!("write 1 to {TIERS_MAX} tiers");
            value.refuse_unseen(format!("a route with {} tiers", elements.len()), remedy);
        }
        elements.iter().take(TIERS_MAX).map(|element| self.tier(element, aliased)).collect()
    }

    fn tier(&mut self, value: &Value<'_>, aliased: Aliased<'_>) -> Vec<Target> {
        let elements = value.elements();
        if elements.is_empty() || elements.len() > TIER_TARGETS_MAX {
            let remedy = format!("write 1 to {TIER_TARGETS_MAX} targets");
            value.refuse_unseen(format!("a tier with {} targets", elements.len()), remedy);
        }
        let mut tier: Vec<Target> = Vec::new();
        for element in elements.iter().take(TIER_TARGETS_MAX) {
            let Some(target) = self.target(element, aliased, true) else { continue };
            let is_again = |earlier: &Target| {
                let same_key = earlier.key.is_none() || target.key.is_none() || earlier.key == target.key;
                earlier.upstream == target.upstream && earlier.model == target.model && same_key
            };
            if tier.iter().any(is_again) {
                let what = "an earlier target of this tier is the same";
                element.refuse(what.to_owned(), "give that one a greater weight".to_owned());
            }
            tier.push(target);
        }
        tier
    }

    /// The name of an upstream, or a table.
    fn target(&mut self, value: &Value<'_>, aliased: Aliased<'_>, weighted: bool) -> Option<Target> {
        let mut target = self.written_target(value, weighted)?;
        if target.model.is_none() {
            if aliased.must_name {
                let what = "the route has wildcards and aliases, so its aliases mean no model here";
                let remedy = "write { upstream = \"openai\", model = \"gpt-4.1\" }";
                value.refuse_unseen(what.to_owned(), remedy.to_owned());
            }
            target.model = aliased.model.map(str::to_owned);
        }
        let place = (target.upstream, target.model.clone());
        let said = (target.prefill, target.extra_body.clone());
        if *self.said.entry(place).or_insert_with(|| said.clone()) != said {
            let what = "an earlier target of the same upstream and model has another prefill or extra_body";
            value.refuse_unseen(what.to_owned(), "give both the same".to_owned());
        }
        Some(target)
    }

    fn written_target(&self, value: &Value<'_>, weighted: bool) -> Option<Target> {
        if value.is_text() {
            let upstream = position(value, self.upstreams)?;
            return Some(Target::plain(upstream, None, &self.upstreams[upstream]));
        }
        let mut table = value.table("write \"openai\" or { upstream = \"openai\", model = \"gpt-4.1\" }")?;
        let upstream = table.require("upstream", "\"openai\"").and_then(|value| position(&value, self.upstreams));
        let key = table.take("key");
        let key = key.map(|value| upstream.and_then(|upstream| key_position(&value, &self.upstreams[upstream])));
        let model = table.take("model").and_then(|value| model(&value));
        let prefill = prefill(&mut table, upstream.and_then(|upstream| self.upstreams[upstream].prefill));
        let mut extra_body = check_kind::extra_body(&mut table);
        if let Some(upstream) = upstream {
            let of_upstream = self.upstreams[upstream].extra_body.iter();
            let more = of_upstream.filter(|member| extra_body.iter().all(|own| own.name != member.name));
            extra_body.extend(more.cloned().collect::<Vec<_>>());
        }
        let weight = if weighted {
            table.whole("weight", &defaults::TARGET_WEIGHT)
        } else {
            if let Some(value) = table.take("weight") {
                let what = "targets are tried in their order, whatever they weigh";
                value.refuse(what.to_owned(), "remove it, or write tiers instead of targets".to_owned());
            }
            defaults::TARGET_WEIGHT.default
        };
        Some(Target { upstream: upstream?, key: key.flatten(), model, weight, prefill, extra_body })
    }
}

/// The position of the upstream that `value` names.
pub(super) fn position(value: &Value<'_>, upstreams: &[Upstream]) -> Option<usize> {
    let name = value.text()?;
    let found = upstreams.iter().position(|upstream| upstream.name == name && !name.is_empty());
    if found.is_none() {
        let known: Vec<&str> = upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        let known: Vec<&str> = known.into_iter().filter(|name| !name.is_empty()).collect();
        value.refuse("there is no such upstream".to_owned(), did_you_mean(&name, &known));
    }
    found
}

/// The position of the upstream's key that `value` names.
fn key_position(value: &Value<'_>, upstream: &Upstream) -> Option<usize> {
    // Not repeated: somebody may have written the key itself.
    let name = value.text_unseen()?;
    let found = upstream.keys.iter().position(|key| key.name == name);
    if found.is_none() {
        let known: Vec<&str> = upstream.keys.iter().map(|key| key.name.as_str()).collect();
        value.refuse_unseen("the upstream has no key of this name".to_owned(), did_you_mean(&name, &known));
    }
    found
}
