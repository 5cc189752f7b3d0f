//! `[[keys]]`: virtual keys. Each is hashed as soon as it is read, and only the digest is kept.

use std::collections::{HashMap, HashSet};

use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::check::{bounded, limits, unique_name};
use super::check_targets::position;
use super::raw::{Table, Value};
use super::{Key, Priority, Upstream, secret};

/// Least length of a virtual key, in characters: what is shorter can be guessed.
const KEY_CHARS_MIN: usize = 16;

/// Every virtual key of the file.
pub(super) fn keys(root: &mut Table<'_>, upstreams: &[Upstream]) -> Vec<Key> {
    let mut names = HashSet::new();
    let mut digests: HashMap<[u8; 32], String> = HashMap::new();
    let mut keys: Vec<Key> = Vec::new();
    for mut table in bounded(root, "keys") {
        let name = unique_name(&mut table, "\"team-a\"", &mut names).unwrap_or_default();
        let models = table.take("models").map(|value| globs(&value)).unwrap_or_default();
        let limits = limits(&mut table);
        let priorities = [("interactive", Priority::Interactive), ("batch", Priority::Batch)];
        let priority = table.choice("priority", &priorities, Priority::Interactive);
        let allowed = table.take("upstreams").map(|value| positions(&value, upstreams)).unwrap_or_default();
        let key = |sha256| Key { name: name.clone(), sha256, models, limits, priority, upstreams: allowed };
        let Ok((sha256, place)) = digest(&mut table) else {
            // It counts as a key: whether the gateway is open does not depend on whether this one is readable.
            keys.push(key([0; 32]));
            continue;
        };
        if let Some(earlier) = digests.get(&sha256) {
            let what = format!("\"{earlier}\" has the same key");
            place.refuse_unseen(what, "give each its own key".to_owned());
        }
        keys.push(key(sha256));
        digests.insert(sha256, name);
    }
    keys
}

/// The digest of the one source that the key has, and where that stands.
fn digest<'d>(table: &mut Table<'d>) -> Result<([u8; 32], Value<'d>), ()> {
    let written = table.take("sha256");
    match (secret::read(table, written.as_ref())?, written) {
        (Some((secret, place)), _) => {
            let secret = secret.expose_secret();
            if secret.len() < KEY_CHARS_MIN {
                let remedy = "make one with: openssl rand -hex 24";
                place.refuse_unseen(
                    format!("the key is shorter than {KEY_CHARS_MIN} characters"),
                    remedy.to_owned(),
                );
                return Err(());
            }
            Ok((Sha256::digest(secret.as_bytes()).into(), place))
        }
        (None, Some(place)) => {
            let Some(digest) = from_hex(&place.text_unseen().ok_or(())?) else {
                // Not repeated: somebody may have written the key itself.
                let remedy = "make one with: printf %s \"$KEY\" | sha256sum";
                place.refuse_unseen("not a digest of 64 hexadecimal digits".to_owned(), remedy.to_owned());
                return Err(());
            };
            Ok((digest, place))
        }
        (None, None) => {
            let remedy = "write key_env = \"NAME\", key_file = \"/path\" or sha256 = \"digest\"";
            table.refuse("", "the key has no source".to_owned(), remedy.to_owned());
            Err(())
        }
    }
}

/// `keys.models`: each a name or a glob.
fn globs(value: &Value<'_>) -> Vec<String> {
    let globs: Vec<String> = value.elements().iter().filter_map(model).collect();
    if value.elements().is_empty() {
        let remedy = "leave it out to allow every model";
        value.refuse_unseen("an empty list allows no model".to_owned(), remedy.to_owned());
    }
    globs
}

/// `keys.upstreams`: names of upstreams.
fn positions(value: &Value<'_>, upstreams: &[Upstream]) -> Vec<usize> {
    if value.elements().is_empty() {
        let remedy = "leave it out to allow every upstream";
        value.refuse_unseen("an empty list allows no upstream".to_owned(), remedy.to_owned());
    }
    value.elements().iter().filter_map(|element| position(element, upstreams)).collect()
}

/// The name of a model, or a glob: not empty, at most 256 bytes, nothing invisible.
pub(super) fn model(value: &Value<'_>) -> Option<String> {
    let model = value.text()?;
    if model.is_empty() || model.len() > 256 || model.chars().any(|c| c.is_control() || c.is_whitespace()) {
        let remedy = "write 1 to 256 bytes without blanks, such as \"gpt-4.1\"";
        value.refuse("not the name of a model".to_owned(), remedy.to_owned());
        return None;
    }
    Some(model)
}

/// 32 bytes from 64 hexadecimal digits.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| d.try_into().ok())).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}
