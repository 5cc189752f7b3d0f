//! Tests of the tap.
