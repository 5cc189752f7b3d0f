//! From a model name to its route, and the targets of all routes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::lookup::Lookup;
use crate::config::{self, BodyDefault, Config, Prefill};
use crate::units::{RouteId, TargetId, UpstreamId};

/// All routes, arranged for looking up. Immutable; built once and shared.
#[derive(Debug)]
pub struct Table {
    routes: Vec<Arc<Route>>,
    default_route: Option<Arc<Route>>,
    lookup: Lookup,
    /// Models to list, each with its owner.
    names: Vec<(Box<str>, Box<str>)>,
    targets: Vec<Target>,
}

/// What a model name means.
#[derive(Debug)]
pub struct Route {
    /// Its position in `[[routes]]`; `None`: the route of requests that name no model.
    pub id: Option<RouteId>,
    /// In the order in which they are tried; none of them is empty.
    pub tiers: Vec<Vec<Choice>>,
    /// What else its requests go by.
    pub rules: Arc<config::Route>,
}

/// One target of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which one.
    pub target: TargetId,
    /// Its share of the tier's requests: the target's weight times that of its key.
    pub weight: u32,
}

/// One place where a request may be sent: an upstream, one of its keys, and its name for the model. It is the same
/// target in whatever routes it stands.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its position in the table.
    pub id: TargetId,
    /// The provider.
    pub upstream: UpstreamId,
    /// Position in the upstream's keys; 0 also where it has none.
    pub key: usize,
    /// The provider's name for the model; `None` keeps the client's.
    pub model: Option<Arc<str>>,
    /// How it goes on with a given beginning of an answer, if it can.
    pub prefill: Option<Prefill>,
    /// Members that requests to it get, on top of what they have.
    pub extra_body: Arc<[BodyDefault]>,
}

impl Table {
    /// The table of `[[routes]]`.
    ///
    /// # Panics
    /// When there are more than 65535 targets; configuration checking refuses those.
    pub fn new(config: &Config) -> Self {
        let mut builder = Builder { config, targets: Vec::new(), ids: HashMap::new() };
        let routes: Vec<Arc<Route>> = config
            .routes
            .iter()
            .enumerate()
            .map(|(position, rules)| Arc::new(builder.route(Some(RouteId::new(position)), rules)))
            .collect();
        let default_route = config.default_route.as_ref().map(|rules| Arc::new(builder.route(None, rules)));
        let targets = builder.targets;
        let named =
            || config.routes.iter().enumerate().flat_map(|(at, route)| route.names().map(move |n| (n, at)));
        let lookup = Lookup::new(named());
        let listed = named().filter(|(name, position)| lookup.exact(name) == Some(*position));
        let names =
            listed.map(|(name, position)| (name.into(), owner(config, &config.routes[position]).into())).collect();
        Self { routes, default_route, lookup, names, targets }
    }

    /// The route of `model`: the one with exactly this name or alias, else the glob with the longest text before
    /// its first wildcard, else, among equals, the first in the file. So a `*` at the top of the file takes only
    /// what no other route wants.
    pub fn resolve(&self, model: &str) -> Option<&Arc<Route>> {
        self.routes.get(self.lookup.resolve(model)?)
    }

    /// The models to list, in file order, each with the name of its first target's upstream; aliases stand behind
    /// their model. Globs are left out: what they stand for is not known here.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().map(|(name, owner)| (name.as_ref(), owner.as_ref()))
    }

    /// The route of requests that name no model: each key of the default upstream is a tier.
    pub fn default_route(&self) -> Option<&Arc<Route>> {
        self.default_route.as_ref()
    }

    /// The routes of models, by their ids.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// All targets, by their ids.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// One target.
    ///
    /// # Panics
    /// When `id` is of another table.
    pub fn target(&self, id: TargetId) -> &Target {
        &self.targets[id.index()]
    }
}

impl Route {
    /// All its choices, tier by tier.
    pub fn choices(&self) -> impl Iterator<Item = Choice> {
        self.tiers.iter().flatten().copied()
    }
}

/// Gives each distinct target one id.
struct Builder<'c> {
    config: &'c Config,
    targets: Vec<Target>,
    ids: HashMap<(usize, usize, Option<&'c str>), TargetId>,
}

impl<'c> Builder<'c> {
    fn route(&mut self, id: Option<RouteId>, rules: &'c Arc<config::Route>) -> Route {
        let tiers = rules.tiers.iter().map(|tier| self.tier(tier)).collect();
        Route { id, tiers, rules: Arc::clone(rules) }
    }

    fn tier(&mut self, tier: &'c [config::Target]) -> Vec<Choice> {
        let mut choices = Vec::with_capacity(tier.len());
        for target in tier {
            let upstream = &self.config.upstreams[target.upstream];
            for key in upstream.key_positions(target.key) {
                let key_weight = upstream.keys.get(key).map_or(1, |key| key.weight);
                let weight = target.weight.saturating_mul(key_weight);
                choices.push(Choice { target: self.id(target, key), weight });
            }
        }
        choices
    }

    fn id(&mut self, target: &'c config::Target, key: usize) -> TargetId {
        let model = target.model.as_deref();
        let next = self.targets.len();
        *self.ids.entry((target.upstream, key, model)).or_insert_with(|| {
            let id = TargetId::new(next);
            self.targets.push(Target {
                id,
                upstream: UpstreamId::new(target.upstream),
                key,
                model: model.map(Arc::from),
                prefill: target.prefill,
                extra_body: target.extra_body.as_slice().into(),
            });
            id
        })
    }
}

fn owner<'a>(config: &'a Config, route: &config::Route) -> &'a str {
    let first = route.tiers.iter().flatten().next();
    first.map_or("", |target| config.upstreams[target.upstream].name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    const UPSTREAMS: &str = "[[upstreams]]\nname = \"one\"\nbase_url = \"http://h\"\n\
        [[upstreams]]\nname = \"two\"\nbase_url = \"http://h\"\nprefill = \"prefix\"\n\
        keys = [{ name = \"a\", key_env = \"A\", weight = 2 }, { name = \"b\", key_env = \"B\" }]\n\
        [routing]\ndefault_upstream = \"two\"\n";

    fn table(routes: &str) -> Table {
        let env = Env::of([("A", "sk-a"), ("B", "sk-b")]);
        Table::new(&config::parse(&format!("{UPSTREAMS}{routes}"), "x", &env).expect("a good file"))
    }

    /// Upstream, key, model and weight of a choice.
    type Seen<'t> = (usize, usize, Option<&'t str>, u32);

    fn tiers<'t>(table: &'t Table, route: &Route) -> Vec<Vec<Seen<'t>>> {
        let choice = |choice: &Choice| {
            let target = table.target(choice.target);
            assert_eq!(target.id, choice.target);
            (target.upstream.index(), target.key, target.model.as_deref(), choice.weight)
        };
        route.tiers.iter().map(|tier| tier.iter().map(choice).collect()).collect()
    }

    #[test]
    fn the_narrowest_route_wins() {
        let models = ["*", "gpt-*", "gpt-4*", "gpt-5"];
        let routes = models.map(|model| format!("[[routes]]\nmodel = \"{model}\"\ntargets = [\"one\"]\n"));
        let table = table(&routes.concat());
        for (model, expected) in [("gpt-5", 3), ("gpt-4o", 2), ("gpt-6", 1), ("claude", 0), ("gpt-4", 2)] {
            let id = table.resolve(model).and_then(|route| route.id);
            assert_eq!(id.map(RouteId::index), Some(expected), "{model}");
        }
    }

    #[test]
    fn a_name_without_route_has_none() {
        let table = table("[[routes]]\nmodel = \"gpt-*\"\ntargets = [\"one\"]\n");
        assert!(table.resolve("claude").is_none());
        assert!(table.resolve("").is_none());
    }

    #[test]
    fn targets_are_tiers_of_their_own_and_keep_their_order_and_names() {
        let table = table(
            "[[routes]]\nmodel = \"m\"\ntargets = [{ upstream = \"two\", model = \"x\" }, \"one\"]\n\
             [[routes]]\nmodel = \"g*\"\ntargets = [\"one\"]\n[[routes]]\nmodel = \"n\"\ntargets = [\"one\"]\n",
        );
        let route = table.resolve("m").expect("a route");
        let expected = [vec![(1, 0, Some("x"), 2), (1, 1, Some("x"), 1)], vec![(0, 0, None, 1)]];
        assert_eq!(tiers(&table, route), expected);
        assert_eq!(route.choices().count(), 3);
        assert_eq!(table.names().collect::<Vec<_>>(), [("m", "two"), ("n", "one")]);
    }

    #[test]
    fn weights_of_a_target_and_of_its_key_are_multiplied() {
        let table = table(
            "[[routes]]\nmodel = \"m\"\ntiers = [[\"one\", { upstream = \"two\", weight = 3 }], \
             [{ upstream = \"two\", key = \"b\", weight = 5 }]]\n",
        );
        let route = table.resolve("m").expect("a route");
        let expected = [vec![(0, 0, None, 1), (1, 0, None, 6), (1, 1, None, 3)], vec![(1, 1, None, 5)]];
        assert_eq!(tiers(&table, route), expected);
    }

    #[test]
    fn the_same_target_in_several_routes_is_one() {
        let table = table(
            "[[routes]]\nmodel = \"m\"\ntargets = [\"two\", { upstream = \"one\", model = \"x\" }]\n\
             [[routes]]\nmodel = \"*\"\ntargets = [\"one\", \"two\"]\n",
        );
        let [m, rest] = ["m", "other"].map(|model| table.resolve(model).expect("a route"));
        assert_eq!(table.targets().len(), 4);
        assert_eq!(m.tiers[0], rest.tiers[1]);
        assert_ne!(m.tiers[1], rest.tiers[0]);
        let prefills: Vec<_> = table.targets().iter().map(|target| target.prefill).collect();
        assert_eq!(prefills, [Some(Prefill::Prefix), Some(Prefill::Prefix), None, None]);
        assert!(table.targets().iter().enumerate().all(|(position, target)| target.id.index() == position));
    }

    #[test]
    fn an_alias_means_its_route_and_no_upstream_hears_it() {
        let table = table(
            "[[routes]]\nmodel = \"gpt-5\"\naliases = [\"fast\", \"gpt-4\"]\ntargets = [\"one\"]\n\
             [[routes]]\nmodel = \"gpt-*\"\ntargets = [\"one\"]\n",
        );
        for model in ["gpt-5", "fast", "gpt-4"] {
            let route = table.resolve(model).expect(model);
            assert_eq!(tiers(&table, route), [[(0, 0, Some("gpt-5"), 1)]], "{model}");
        }
        assert_eq!(table.names().collect::<Vec<_>>(), [("gpt-5", "one"), ("fast", "one"), ("gpt-4", "one")]);
    }

    #[test]
    fn requests_without_a_model_go_to_the_keys_of_the_default_upstream_in_turn() {
        let table = table("[[routes]]\nmodel = \"m\"\ntargets = [\"one\"]\n");
        let route = table.default_route().expect("a default route");
        assert_eq!((tiers(&table, route), route.id), (vec![vec![(1, 0, None, 2)], vec![(1, 1, None, 1)]], None));
    }
}
