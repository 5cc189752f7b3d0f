//! The promises of `src/dialects/tests/hostile.rs`, for a fuzzer.

use millstream::dialects;

#[path = "../../src/dialects/tests/hostile.rs"]
mod hostile;
#[expect(dead_code, reason = "the tests read back what they say, and a fuzzer has no time for that")]
#[path = "../../src/dialects/tests/roster.rs"]
mod roster;

/// A stream of a provider.
pub fn stream(input: &[u8]) {
    hostile::stream(input);
}

/// A request of a client.
pub fn request(input: &[u8]) {
    hostile::request(input);
}

/// A document of a provider.
pub fn document(input: &[u8]) {
    hostile::document(input);
}
