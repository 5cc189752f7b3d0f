//! Sends one HTTP request to one upstream and hands back its answer, over a pool of connections per core.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

use crate::config;
use crate::telemetry::{FailurePhase, Recorder};
use crate::units::UpstreamId;
