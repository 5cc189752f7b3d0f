//! Counts of tokens for models whose provider can't be asked for them: estimated here, and marked as such.

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response};

use super::call::Call;
use super::lane::refused;
use super::native;
use super::plan::Plan;
use super::worker::Worker;
use crate::dialects::{self, Place, Target};
use crate::error::Error;
use crate::stream::Body;

/// The count is an estimate.
const ESTIMATED: HeaderName = HeaderName::from_static("x-millstream-estimated");

/// The answer, where it is a count that is asked for, and of a provider that has none. The first target of the route
/// speaks for all.
pub(super) fn estimate(worker: &Worker, call: &Call, plan: &Plan) -> Option<Result<Response<Body>, Error>> {
    let front = dialects::count_front(call.endpoint)?;
    let leg = plan.first();
    let first = leg.route().tiers.iter().flatten().next()?;
    let target = worker.snapshot.table.target(first.target);
    let upstream = &worker.snapshot.config.upstreams[target.upstream.index()];
    let asked = || leg.model().or_else(|| call.model()).unwrap_or_default();
    let model = target.model.as_deref().unwrap_or_else(asked);
    if native::form(upstream, call, model).is_some() {
        return None;
    }
    let place = Place { model: call.model(), stream: None };
    let request = match (front.read)(call.json()?, &place) {
        Ok(request) => request,
        Err(refusal) => return Some(Err(refused(refusal))),
    };
    if dialects::provider(upstream, model).count(&request, &Target { model, unique: "" }).is_some() {
        return None;
    }
    let mut response = Response::new(Body::whole((front.write)(dialects::estimate(&request)).into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ESTIMATED, HeaderValue::from_static("true"));
    Some(Ok(response))
}
