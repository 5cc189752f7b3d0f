//! What a model name means: from the name to a route, and from the route to the order of its targets.

pub mod table;
