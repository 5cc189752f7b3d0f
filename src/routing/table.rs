//! From a model name to its route.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use crate::config::pattern::Pattern;
use crate::config::{self, Config};
use crate::units::{RouteId, UpstreamId};

/// All routes, arranged for looking up. Immutable; built once and shared.
#[derive(Debug)]
pub struct Table {
    routes: Vec<Route>,
    /// Positions of the routes without wildcards.
    exact: HashMap<Box<str>, usize>,
    /// Positions of the others, the narrowest first.
    globs: Vec<(Pattern, usize)>,
    /// Models to list, each with its owner.
    names: Vec<(Box<str>, Box<str>)>,
    default_upstream: Option<UpstreamId>,
}

/// What a model name means.
#[derive(Debug)]
pub struct Route {
    /// Its position in `[[routes]]`.
    pub id: RouteId,
    /// As written, at least one where the configuration was checked; see [`crate::routing::pick::order`].
    pub targets: Vec<Target>,
}

/// One place where a request may be sent.
#[derive(Clone, Debug)]
pub struct Target {
    /// The provider.
    pub upstream: UpstreamId,
    /// The provider's name for the model; `None` keeps the client's.
    pub model: Option<Arc<str>>,
}

impl Table {
    /// The table of `[[routes]]`.
    pub fn new(config: &Config) -> Self {
        let mut exact = HashMap::new();
        let mut globs = Vec::new();
        let mut names = Vec::new();
        for (position, route) in config.routes.iter().enumerate() {
            let pattern = Pattern::new(&route.model);
            if !pattern.is_exact() {
                globs.push((pattern, position));
            } else if !exact.contains_key(route.model.as_str()) {
                exact.insert(route.model.as_str().into(), position);
                names.push((route.model.as_str().into(), owner(config, route).into()));
            }
        }
        // Stable: equally narrow globs stay in file order.
        globs.sort_by_key(|(pattern, _)| Reverse(pattern.specificity()));
        Self {
            routes: config
                .routes
                .iter()
                .enumerate()
                .map(|(position, route)| Route::new(position, route))
                .collect(),
            exact,
            globs,
            names,
            default_upstream: config.default_upstream.map(UpstreamId::new),
        }
    }

    /// The route of `model`: the one with exactly this name, else the glob with the longest text before its
    /// first wildcard, else, among equals, the first in the file. So a `*` at the top of the file takes only
    /// what no other route wants.
    pub fn resolve(&self, model: &str) -> Option<&Route> {
        let glob = || self.globs.iter().find(|(pattern, _)| pattern.matches(model)).map(|(_, position)| position);
        let position = self.exact.get(model).or_else(glob)?;
        self.routes.get(*position)
    }

    /// The models to list, in file order, each with the name of its first target's upstream. Globs are left
    /// out: what they stand for is not known here.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().map(|(name, owner)| (name.as_ref(), owner.as_ref()))
    }

    /// The upstream of requests that name no model.
    pub fn default_upstream(&self) -> Option<UpstreamId> {
        self.default_upstream
    }
}

impl Route {
    fn new(position: usize, route: &config::Route) -> Self {
        let targets = route.targets.iter().map(|target| Target {
            upstream: UpstreamId::new(target.upstream),
            model: target.model.as_deref().map(Arc::from),
        });
        Self { id: RouteId::new(position), targets: targets.collect() }
    }
}

fn owner<'a>(config: &'a Config, route: &config::Route) -> &'a str {
    let upstream = route.targets.first().and_then(|target| config.upstreams.get(target.upstream));
    upstream.map_or("", |upstream| upstream.name.as_str())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{
        Admin, BaseUrl, Drain, Limits, Log, LogFormat, Protocol, Server, Stream, Upstream, UpstreamKind,
    };
    use crate::routing::pick;

    fn upstream(name: &str) -> Upstream {
        let time = Duration::from_secs(1);
        Upstream {
            name: name.into(),
            kind: UpstreamKind::OpenAi,
            base: BaseUrl { tls: false, host: "h".into(), port: 80, unix: None, path: String::new() },
            key: None,
            protocol: Protocol::Auto,
            connections_max: 1,
            h2_streams_max: 1,
            dns_timeout: time,
            connect_timeout: time,
            handshake_timeout: time,
            idle_timeout: time,
            lifetime_max: time,
            receive_buffer_bytes: 1,
            ca_file: None,
            include_usage: true,
        }
    }

    /// An upstream by position, and the model there.
    type Written = (usize, Option<&'static str>);

    /// Each route is a model and its targets.
    fn table(routes: &[(&str, &[Written])]) -> Table {
        let time = Duration::from_secs(1);
        let target =
            |(upstream, model): &Written| config::Target { upstream: *upstream, model: model.map(str::to_owned) };
        let routes = routes.iter().map(|(model, targets)| config::Route {
            model: (*model).to_owned(),
            targets: targets.iter().map(target).collect(),
        });
        Table::new(&Config {
            server: Server {
                listen: vec![],
                workers: None,
                pin: false,
                reactor: config::WantedReactor::Epoll,
                tick: config::Tick::Off,
                connections_max: None,
                in_flight_max: 1,
                header_timeout: time,
                body_timeout: time,
                idle_timeout: time,
                header_bytes_max: 1,
                headers_max: 1,
                body_bytes_max: 1,
                h2_streams_max: 1,
                send_buffer_bytes: 1,
                tls: None,
            },
            stream: Stream {
                keep_alive: None,
                early_head_after: None,
                response_timeout: None,
                first_token_timeout: None,
                idle_timeout: None,
                total_timeout: None,
                slow_client_timeout: None,
                event_hold_bytes_max: 1,
            },
            limits: Limits::default(),
            keys: vec![],
            upstreams: vec![upstream("one"), upstream("two")],
            routes: routes.collect(),
            default_upstream: Some(1),
            admin: Admin { listen: None },
            drain: Drain { delay: time, timeout: time },
            log: Log { filter: String::new(), format: LogFormat::Text, access: false },
            demo: config::DemoSettings { tokens_per_second: 1.0, seed: 0, first_token: time },
        })
    }

    #[test]
    fn the_narrowest_route_wins() {
        let to_one: &[_] = &[(0, None)];
        let table = table(&[
            ("*", to_one),
            ("gpt-*", to_one),
            ("gpt-4*", to_one),
            ("gpt-?", to_one),
            ("gpt-5", to_one),
            ("gpt-5", to_one),
        ]);
        for (model, expected) in
            [("gpt-5", 4), ("gpt-4o", 2), ("gpt-6", 1), ("gpt-66", 1), ("claude", 0), ("a/b", 0), ("gpt-4", 2)]
        {
            assert_eq!(table.resolve(model).map(|route| route.id.index()), Some(expected), "{model}");
        }
    }

    #[test]
    fn a_name_without_route_has_none() {
        let table = table(&[("gpt-*", &[(0, None)])]);
        assert!(table.resolve("claude").is_none());
        assert!(table.resolve("").is_none());
    }

    #[test]
    fn targets_keep_their_order_and_names() {
        let table =
            table(&[("m", &[(1, Some("upstream-m")), (0, None)]), ("g*", &[(0, None)]), ("n", &[(0, None)])]);
        let route = table.resolve("m").expect("a route");
        let targets: Vec<_> =
            pick::order(route).map(|target| (target.upstream.index(), target.model.as_deref())).collect();
        assert_eq!(targets, [(1, Some("upstream-m")), (0, None)]);
        assert_eq!(table.names().collect::<Vec<_>>(), [("m", "two"), ("n", "one")]);
        assert_eq!(table.default_upstream(), Some(UpstreamId::new(1)));
    }
}
