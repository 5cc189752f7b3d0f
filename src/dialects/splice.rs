//! Changes to a body that otherwise goes on as it came: values of its top level are replaced, every other byte stays.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use serde_json::value::RawValue;

use super::provider::Malformed;

/// Where the values of the top level stand, by name.
pub(super) fn members(raw: &[u8]) -> Result<HashMap<String, Range<usize>>, Malformed> {
    let members: HashMap<Cow<'_, str>, &RawValue> =
        serde_json::from_slice(raw).map_err(|_| Malformed("a body that is no JSON object"))?;
    let place = |value: &RawValue| {
        // The values are slices of `raw`.
        let start = value.get().as_ptr().addr() - raw.as_ptr().addr();
        start..start + value.get().len()
    };
    Ok(members.into_iter().map(|(name, value)| (name.into_owned(), place(value))).collect())
}

/// The body with other values in those places, which are in order.
pub(super) fn spliced(raw: &[u8], splices: &[(&Range<usize>, String)]) -> Vec<u8> {
    let mut body = Vec::with_capacity(raw.len() + 64);
    let mut copied = 0;
    for (range, with) in splices {
        body.extend_from_slice(&raw[copied..range.start]);
        body.extend_from_slice(with.as_bytes());
        copied = range.end;
    }
    body.extend_from_slice(&raw[copied..]);
    body
}
