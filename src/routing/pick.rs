//! The order in which the targets of a route are tried.

use crate::routing::table::{Route, Target};

/// The targets of `route` in the order in which they are tried: as they are written.
pub fn order(route: &Route) -> impl Iterator<Item = &Target> {
    route.targets.iter()
}
