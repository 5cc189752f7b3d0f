//! `[[routes]]` and `[routing]`.

use std::collections::HashSet;

use super::check::bounded;
use super::check_keys::model;
use super::check_targets::{Aliased, Targets, position};
use super::lookup::Lookup;
use super::pattern::Pattern;
use super::raw::{Table, Value};
use super::{Balance, Clocks, Defaults, HashOn, Retry, Route, Target, Unsupported, Upstream};
use super::{check_defaults, check_retry, check_upstreams, defaults};

/// Other names of one route.
const ALIASES_MAX: usize = 64;

/// Routes that a request may go through because it is too long: each asks an upstream before it knows.
const LARGER_MAX: usize = 4;

/// The words of `unsupported`.
const UNSUPPORTED: [(&str, Unsupported); 2] = [("refuse", Unsupported::Refuse), ("drop", Unsupported::Drop)];

/// What routes are made of that say nothing else.
pub(super) struct Above<'a> {
    pub(super) upstreams: &'a [Upstream],
    pub(super) clocks: Clocks,
    pub(super) retry: Retry,
}

/// Every route of the file; without any, `*` to the first upstream.
pub(super) fn routes(root: &mut Table<'_>, above: &Above<'_>) -> Vec<Route> {
    let tables = bounded(root, "routes");
    if tables.is_empty() {
        let target = above.upstreams.first().map(|upstream| Target::plain(0, None, upstream));
        return vec![above.route("*".to_owned(), vec![target.into_iter().collect()])];
    }
    let mut names = HashSet::new();
    let mut targets = Targets::new(above.upstreams);
    let (routes, larger): (Vec<Route>, Vec<Option<Value<'_>>>) =
        tables.into_iter().map(|table| above.written(table, &mut names, &mut targets)).unzip();
    check_larger(&routes, &larger);
    refuse_too_many_targets(root, &routes, above.upstreams);
    routes
}

/// The route of requests that name no model: to `routing.default_upstream`, which is the first upstream unless the
/// file says otherwise; `None` for `"off"`.
pub(super) fn default_route(table: &mut Table<'_>, above: &Above<'_>) -> Option<Route> {
    let upstream = match table.take("default_upstream") {
        None => 0,
        Some(value) if value.is("off") => return None,
        Some(value) => position(&value, above.upstreams)?,
    };
    let found = above.upstreams.get(upstream)?;
    let target = |key| vec![Target::plain(upstream, key, found)];
    let tiers = match found.keys.len() {
        0 | 1 => vec![target(None)],
        several => (0..several).map(|key| target(Some(key))).collect(),
    };
    Some(above.route(String::new(), tiers))
}

impl Above<'_> {
    /// A route that says where it goes, and nothing else.
    fn route(&self, model: String, tiers: Vec<Vec<Target>>) -> Route {
        Route {
            model,
            aliases: Vec::new(),
            tiers,
            balance: defaults::BALANCE,
            hash_on: defaults::HASH_ON,
            clocks: self.clocks,
            on_cancel: None,
            larger: None,
            continues: defaults::CONTINUE,
            retry: self.retry,
            hedge: None,
            defaults: Defaults::default(),
            unsupported: Unsupported::Refuse,
        }
    }

    /// One of `[[routes]]`, and the place of its `larger`.
    fn written<'d>(
        &self,
        mut table: Table<'d>,
        names: &mut HashSet<String>,
        targets: &mut Targets<'_>,
    ) -> (Route, Option<Value<'d>>) {
        let table = &mut table;
        let model = table.require("model", "\"*\"").and_then(|value| {
            let model = model(&value)?;
            if !names.insert(model.clone()) {
                let remedy = "put the targets of both into one route";
                value.refuse("an earlier route has the same model".to_owned(), remedy.to_owned());
            }
            Some(model)
        });
        let aliases = table.take("aliases").map(|value| aliases(&value, names)).unwrap_or_default();
        let is_exact = model.as_deref().is_none_or(|model| Pattern::new(model).is_exact());
        let aliased = match &model {
            Some(model) if !aliases.is_empty() && is_exact => Aliased { model: Some(model), must_name: false },
            _ => Aliased { model: None, must_name: !aliases.is_empty() && !is_exact },
        };
        let tiers = targets.tiers(table, aliased);
        let (balance, hash_on) = balance(table);
        let larger = table.take("larger");
        let route = Route {
            aliases,
            balance,
            hash_on,
            clocks: check_retry::clocks(table, self.clocks),
            on_cancel: check_upstreams::on_cancel(table),
            larger: larger.as_ref().and_then(self::larger),
            continues: table.flag("continue", defaults::CONTINUE),
            retry: check_retry::retry_of(&mut table.table("retry"), self.retry),
            hedge: check_retry::hedge(&mut table.table("hedge")),
            defaults: check_defaults::defaults(&mut table.table("defaults")),
            unsupported: table.choice("unsupported", &UNSUPPORTED, Unsupported::Refuse),
            ..self.route(model.unwrap_or_default(), tiers)
        };
        (route, larger)
    }
}

/// `routes.aliases`: names that nobody else has.
fn aliases(value: &Value<'_>, names: &mut HashSet<String>) -> Vec<String> {
    let elements = value.elements();
    if elements.len() > ALIASES_MAX {
        value.refuse_unseen(format!("more than {ALIASES_MAX} aliases"), String::new());
    }
    let mut aliases = Vec::new();
    for element in elements.iter().take(ALIASES_MAX) {
        let Some(alias) = model(element) else { continue };
        if !Pattern::new(&alias).is_exact() {
            let remedy = "write a name without \"*\" and \"?\", or a route of its own";
            element.refuse("an alias has no wildcards".to_owned(), remedy.to_owned());
        } else if !names.insert(alias.clone()) {
            element.refuse(
                "an earlier model or alias has the same name".to_owned(),
                "choose another name".to_owned(),
            );
        } else {
            aliases.push(alias);
        }
    }
    aliases
}

/// `routes.balance` and `routes.hash_on`, which goes with one of them alone.
fn balance(table: &mut Table<'_>) -> (Balance, HashOn) {
    let words = [
        ("weighted", Balance::Weighted),
        ("least_streams", Balance::LeastStreams),
        ("p2c", Balance::PowerOfTwo),
        ("hash", Balance::Hash),
    ];
    let balance = table.choice("balance", &words, defaults::BALANCE);
    let Some(value) = table.take("hash_on") else { return (balance, defaults::HASH_ON) };
    if balance != Balance::Hash {
        let remedy = "write balance = \"hash\", or remove it";
        value.refuse("nothing is hashed here".to_owned(), remedy.to_owned());
    }
    let words = [("session", HashOn::Session), ("user", HashOn::User), ("prompt", HashOn::Prompt)];
    (balance, value.choice(&words).unwrap_or(defaults::HASH_ON))
}

/// `routes.larger`: the name of one model.
fn larger(value: &Value<'_>) -> Option<String> {
    let name = model(value)?;
    if Pattern::new(&name).is_exact() {
        return Some(name);
    }
    let remedy = "write the name of one model";
    value.refuse("requests go to a model, and this has wildcards".to_owned(), remedy.to_owned());
    None
}

/// Whether each `larger` means a route, and following them ends soon. `places` are theirs.
fn check_larger(routes: &[Route], places: &[Option<Value<'_>>]) {
    let names = routes.iter().enumerate().flat_map(|(position, route)| route.names().map(move |n| (n, position)));
    let lookup = Lookup::new(names);
    let next = |position: usize| routes[position].larger.as_deref().and_then(|name| lookup.resolve(name));
    for (start, place) in places.iter().enumerate() {
        let (Some(place), Some(_)) = (place, &routes[start].larger) else { continue };
        let Some(first) = next(start) else {
            place.refuse("no route has this model".to_owned(), "add one, or name another".to_owned());
            continue;
        };
        let mut seen = vec![start];
        let mut at = Some(first);
        while let Some(position) = at.filter(|position| !seen.contains(position) && seen.len() <= LARGER_MAX) {
            seen.push(position);
            at = next(position);
        }
        if at == Some(start) {
            let remedy = "name a model that takes longer requests than this one";
            place.refuse("it leads back to this route".to_owned(), remedy.to_owned());
        } else if seen.len() > LARGER_MAX {
            let remedy = "name the largest one at once".to_owned();
            place.refuse(format!("more than {LARGER_MAX} routes in a row"), remedy);
        }
    }
}

/// Targets are counted in 16 bits, each upstream's key and model once over all routes.
fn refuse_too_many_targets(root: &Table<'_>, routes: &[Route], upstreams: &[Upstream]) {
    let mut distinct = HashSet::new();
    for target in routes.iter().flat_map(|route| route.tiers.iter().flatten()) {
        for key in upstreams[target.upstream].key_positions(target.key) {
            distinct.insert((target.upstream, key, target.model.as_deref()));
        }
    }
    // Those of the default route come on top.
    if distinct.len() + defaults::UPSTREAM_KEYS_MAX > defaults::LIST_MAX {
        let what = format!("{} targets that differ in upstream, key or model", distinct.len());
        root.refuse_at("routes", what, format!("keep below {}", defaults::LIST_MAX - defaults::UPSTREAM_KEYS_MAX));
    }
}
