//! Whom to ask next: the routes that a request names, their tiers, and of a tier whoever is well, has room, and is
//! favoured by the route's balance.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::call::Call;
use super::trial::Trial;
use super::worker::Worker;
use crate::api::affinity;
use crate::config::{self, HashOn};
use crate::error::{Error, Kind};
use crate::routing::balance::{self, Candidate};
use crate::routing::gate::{Class, Gate, Seat};
use crate::routing::health::{Admission, Pass, Standing};
use crate::routing::table::{Choice, Route};
use crate::units::{TargetId, UpstreamId};

/// Names the conversation; goes on to the upstream as it is.
const SESSION: &str = "x-session-id";

/// How much of its share a target gets whose breaker waits for a probe: enough to be asked soon.
const PROBE_WARMTH: f64 = 0.1;

/// One route of a request, under the name that it was asked by.
#[derive(Debug)]
pub(super) struct Leg {
    route: Arc<Route>,
    /// `None` where the request names no model.
    model: Option<Rc<str>>,
    /// The name as a number.
    hash: u64,
}

/// The next attempt.
pub(super) struct Aim {
    pub(super) leg: Rc<Leg>,
    pub(super) trial: Trial,
    /// The target has not failed of late, so asking it costs nobody's budget.
    pub(super) is_good: bool,
}

/// What a plan comes to.
pub(super) enum Next {
    /// Ask this one.
    Ask(Aim),
    /// Nobody is left. Until then, if all that is wrong is that targets are left alone for a while.
    Nobody(Option<Duration>),
}

/// What is known of one request's targets.
pub(super) struct Plan {
    worker: Rc<Worker>,
    call: Rc<Call>,
    legs: Vec<Rc<Leg>>,
    tried: RefCell<Vec<Tried>>,
    /// Where requests wait for a target.
    class: Class,
    /// Upstreams that the client's key and its choice leave; `None`: all.
    allowed: Option<Vec<UpstreamId>>,
    affinity: Option<u64>,
}

/// What is not asked again: a target, and the model's name that it was asked with where it has none of its own.
type Tried = (TargetId, Option<u64>);

/// A target that may be asked.
struct Open<'a> {
    choice: &'a Choice,
    standing: Standing,
}

impl Leg {
    fn new(route: Arc<Route>, model: Option<Rc<str>>) -> Self {
        let hash = affinity::of_bytes(model.as_deref().unwrap_or_default().as_bytes());
        Self { route, model, hash }
    }

    pub(super) fn config(&self) -> &config::Route {
        &self.route.rules
    }

    pub(super) fn route(&self) -> &Route {
        &self.route
    }

    /// What its requests get that they lack.
    pub(super) fn body_defaults(&self) -> Vec<(&str, &str)> {
        self.config().defaults.body.iter().map(|member| (&*member.name, &*member.json)).collect()
    }

    /// The name under which the route was found.
    pub(super) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

impl Aim {
    /// After a wait, in which the target may have failed: whether it may still be asked.
    pub(super) fn is_still_let_in(&mut self, worker: &Worker) -> bool {
        let pass = self.trial.pass();
        if pass.is_probe() {
            return true;
        }
        match worker.snapshot.board.admit(pass.target(), self.leg.hash, worker.now()) {
            Admission::Shut { .. } => false,
            Admission::Free(pass) | Admission::Probe(pass) => {
                self.trial.renew(pass);
                true
            }
        }
    }
}

impl Plan {
    /// The routes of `call`'s models.
    ///
    /// # Errors
    /// What to tell a client whose model has no route, or who may not use what it has chosen.
    pub(super) fn new(worker: &Rc<Worker>, call: &Rc<Call>) -> Result<Self, Error> {
        let table = &worker.snapshot.table;
        let mut legs = Vec::with_capacity(1);
        for model in call.models() {
            let route = table.resolve(model).ok_or_else(|| no_such_model(model))?;
            // The first is the one that the record names.
            let name = call.record.model.borrow().clone().filter(|name| **name == *model);
            legs.push(Rc::new(Leg::new(Arc::clone(route), Some(name.unwrap_or_else(|| model.into())))));
        }
        if legs.is_empty() {
            let route = table.default_route().ok_or_else(|| {
                Error::new(Kind::NotFound, "This gateway has no upstream for requests that name no model.")
            })?;
            legs.push(Rc::new(Leg::new(Arc::clone(route), None)));
        }
        let plan = Self {
            worker: Rc::clone(worker),
            call: Rc::clone(call),
            tried: RefCell::default(),
            class: call.class,
            allowed: allowed(worker, call)?,
            affinity: of_call(call, &legs),
            legs,
        };
        if plan.allowed.is_some() && !plan.legs.iter().any(|leg| plan.choices(leg).next().is_some()) {
            let detail = "None of the upstreams that this request may use serves the model.";
            return Err(Error::new(Kind::Forbidden, detail));
        }
        Ok(plan)
    }

    /// Those of `leg` who can go on with a begun answer, but for these.
    ///
    /// # Errors
    /// As those of [`new`](Self::new).
    pub(super) fn of_successors(
        worker: &Rc<Worker>,
        call: &Rc<Call>,
        leg: &Rc<Leg>,
        mut passed_over: Vec<TargetId>,
    ) -> Result<Self, Error> {
        let targets = worker.snapshot.table.targets();
        passed_over.extend(targets.iter().filter(|target| target.prefill.is_none()).map(|target| target.id));
        let plan = Self::new(worker, call)?;
        let tried = passed_over.into_iter().map(|target| plan.as_tried(leg, target)).collect();
        Ok(Self { legs: vec![Rc::clone(leg)], tried: RefCell::new(tried), ..plan })
    }

    /// The route that is asked first.
    pub(super) fn first(&self) -> &Rc<Leg> {
        &self.legs[0]
    }

    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// The next target, which is not asked again after this. Its breaker's probe may be taken by it.
    pub(super) fn next(&self) -> Next {
        let mut until = None;
        for leg in &self.legs {
            for tier in &leg.route.tiers {
                if let Some(aim) = self.of_tier(leg, tier, &mut until) {
                    self.tried.borrow_mut().push(self.as_tried(leg, aim.trial.target()));
                    return Next::Ask(aim);
                }
            }
        }
        Next::Nobody(until)
    }

    /// The target that came last was not asked after all, and may be later.
    pub(super) fn leave(&self, aim: &Aim) {
        let left = self.as_tried(&aim.leg, aim.trial.target());
        self.tried.borrow_mut().retain(|tried| *tried != left);
    }

    /// The same target once more, unless it is to be left alone now.
    pub(super) fn again(&self, leg: &Rc<Leg>, target: TargetId) -> Next {
        let now = self.worker.now();
        match self.worker.snapshot.board.admit(target, leg.hash, now) {
            Admission::Shut { until } => Next::Nobody(Some(until)),
            Admission::Free(pass) | Admission::Probe(pass) => {
                let seat = self.gate(target).and_then(|gate| gate.try_enter(self.class));
                Next::Ask(self.aim(leg, pass, false, seat))
            }
        }
    }

    /// Goes on with the route of `model` before anything else that is left.
    pub(super) fn turn_to(&mut self, model: &str) -> bool {
        let Some(route) = self.worker.snapshot.table.resolve(model) else { return false };
        self.legs = vec![Rc::new(Leg::new(Arc::clone(route), Some(model.into())))];
        true
    }

    fn as_tried(&self, leg: &Leg, target: TargetId) -> Tried {
        let has_name = self.worker.snapshot.table.target(target).model.is_some();
        (target, (!has_name).then_some(leg.hash))
    }

    fn choices<'a>(&'a self, leg: &'a Leg) -> impl Iterator<Item = &'a Choice> {
        leg.route.tiers.iter().flatten().filter(|choice| self.allows(choice.target))
    }

    fn allows(&self, target: TargetId) -> bool {
        let upstream = self.worker.snapshot.table.target(target).upstream;
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&upstream))
    }

    /// Somebody of this tier who may be asked now; otherwise `until` tells of the first who may be later.
    fn of_tier(&self, leg: &Rc<Leg>, tier: &[Choice], until: &mut Option<Duration>) -> Option<Aim> {
        let (board, now) = (&self.worker.snapshot.board, self.worker.now());
        let mut open = Vec::with_capacity(tier.len());
        for choice in tier {
            if self.tried.borrow().contains(&self.as_tried(leg, choice.target)) || !self.allows(choice.target) {
                continue;
            }
            match board.peek(choice.target, leg.hash, now) {
                Standing::Shut { until: when } => *until = Some(until.map_or(when, |soonest| soonest.min(when))),
                standing => open.push(Open { choice, standing }),
            }
        }
        let is_well = |open: &Open<'_>| !board.is_ejected(open.choice.target, now);
        if open.len() > 1 && open.iter().any(is_well) && !open.iter().all(is_well) {
            let all: Vec<TargetId> = tier.iter().map(|choice| choice.target).collect();
            if !board.panics(&all, now) {
                open.retain(is_well);
            }
        }
        // What has failed once goes to somebody without doubts, if there is anybody.
        let is_retry = !self.tried.borrow().is_empty();
        if is_retry && open.iter().any(|open| open.standing == Standing::Good) {
            open.retain(|open| open.standing == Standing::Good);
        }
        let mut full = Vec::new();
        while let Some(picked) = self.pick(leg, &open, now) {
            let next = open.swap_remove(picked);
            let gate = self.gate(next.choice.target);
            let seat = gate.and_then(|gate| gate.try_enter(self.class));
            if gate.is_some() && seat.is_none() {
                full.push(next);
            } else if let Some(aim) = self.admitted(leg, &next, seat, now) {
                return Some(aim);
            }
        }
        // Nobody has room: then it waits where it would have gone.
        while let Some(picked) = self.pick(leg, &full, now) {
            let next = full.swap_remove(picked);
            if let Some(aim) = self.admitted(leg, &next, None, now) {
                return Some(aim);
            }
        }
        None
    }

    fn pick(&self, leg: &Leg, open: &[Open<'_>], now: Duration) -> Option<usize> {
        if open.len() < 2 {
            return open.len().checked_sub(1);
        }
        let board = &self.worker.snapshot.board;
        let candidates: Vec<Candidate> = open
            .iter()
            .map(|Open { choice, standing }| Candidate {
                weight: choice.weight,
                open: board.open(choice.target),
                pace: board.pace(choice.target, now),
                warmth: match standing {
                    Standing::Probe => PROBE_WARMTH,
                    _ => board.warmth(choice.target, now),
                },
            })
            .collect();
        let ids: Vec<u64> = open.iter().map(|open| self.identity(open.choice.target)).collect();
        balance::pick(leg.config().balance.into(), &candidates, &ids, self.affinity, self.worker.random())
    }

    /// The same in every process that knows this target, whatever its position is there.
    fn identity(&self, target: TargetId) -> u64 {
        self.worker.snapshot.identities[target.index()]
    }

    fn gate(&self, target: TargetId) -> Option<&Arc<Gate>> {
        self.worker.snapshot.gates[target.index()].as_ref()
    }

    /// Unless somebody else has taken the only probe meanwhile.
    fn admitted(&self, leg: &Rc<Leg>, next: &Open<'_>, seat: Option<Seat>, now: Duration) -> Option<Aim> {
        match self.worker.snapshot.board.admit(next.choice.target, leg.hash, now) {
            Admission::Shut { .. } => None,
            Admission::Free(pass) | Admission::Probe(pass) => {
                Some(self.aim(leg, pass, next.standing == Standing::Good, seat))
            }
        }
    }

    fn aim(&self, leg: &Rc<Leg>, pass: Pass, is_good: bool, seat: Option<Seat>) -> Aim {
        let trial = Trial::new(&self.worker, &self.call, pass, seat);
        Aim { leg: Rc::clone(leg), trial, is_good }
    }
}

fn no_such_model(model: &str) -> Error {
    let detail = format!("The model '{model}' does not exist or you do not have access to it.");
    Error::new(Kind::ModelNotFound, detail).with_param("model")
}

/// What the request may use: the upstreams of its key, and of them the one that it asks for.
fn allowed(worker: &Worker, call: &Call) -> Result<Option<Vec<UpstreamId>>, Error> {
    let config = &worker.snapshot.config;
    let of_key =
        call.principal.key().map(|key| &config.keys[key.index()].upstreams).filter(|list| !list.is_empty());
    let of_key = of_key.map(|list| list.iter().copied().map(UpstreamId::new).collect::<Vec<_>>());
    let Some(name) = &call.upstream else { return Ok(of_key) };
    let position = config.upstreams.iter().position(|upstream| upstream.name.as_bytes() == name.as_bytes());
    let chosen = position.map(UpstreamId::new).filter(|id| of_key.as_ref().is_none_or(|list| list.contains(id)));
    match chosen {
        Some(chosen) => Ok(Some(vec![chosen])),
        None => {
            Err(Error::new(Kind::BadRequest, "x-millstream-upstream names no upstream that this request may use."))
        }
    }
}

/// What ties the request to a cache, where its route goes by that.
fn of_call(call: &Call, legs: &[Rc<Leg>]) -> Option<u64> {
    let config = legs.first()?.config();
    if config.balance != config::Balance::Hash {
        return None;
    }
    match config.hash_on {
        HashOn::Session => call.headers.get(SESSION).map(|session| affinity::of_bytes(session.as_bytes())),
        HashOn::User => affinity::of_user(call.json()?),
        HashOn::Prompt => affinity::of_prompt(call.json()?),
    }
}
