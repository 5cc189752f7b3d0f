//! What a model's name says: where it is found, and what its generation takes.

use std::fmt::Write;

use super::Cloud;

/// A model of Google's.
#[derive(Clone, Debug)]
pub(super) struct Model {
    /// Without the collection it stands in.
    pub name: String,
    collection: &'static str,
    /// 2.5 is (2, 5). What has no number is taken for the newest: aliases such as `gemini-flash-latest` are.
    generation: (u32, u32),
}

/// What names without a number are.
const NEWEST: (u32, u32) = (u32::MAX, 0);

impl Model {
    /// The model that `name` means in this cloud.
    pub(super) fn of(name: &str, cloud: Cloud) -> Self {
        let own = match cloud {
            Cloud::Api => "models/",
            Cloud::Vertex => "publishers/google/models/",
        };
        let name = name.strip_prefix("models/").unwrap_or(name);
        let named = |collection: &&str| name.starts_with(*collection);
        let collections = ["tunedModels/", "endpoints/", "publishers/"];
        match collections.into_iter().find(named) {
            Some(collection) => {
                let rest = &name[collection.len()..];
                Self { name: rest.to_owned(), collection, generation: generation(rest) }
            }
            None => Self { name: name.to_owned(), collection: own, generation: generation(name) },
        }
    }

    /// The address of something that the model does: `generateContent`.
    pub(super) fn path(&self, what: &str) -> String {
        let mut path = format!("/{}", self.collection);
        for byte in self.name.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                    path.push(char::from(byte));
                }
                _ => write!(path, "%{byte:02X}").expect("a string takes everything"),
            }
        }
        path.push(':');
        path.push_str(what);
        path
    }

    /// As other messages name it.
    pub(super) fn resource(&self) -> String {
        format!("{}{}", self.collection, self.name)
    }

    /// Thinks by levels, signs its calls, takes pictures from functions, and writes JSON beside calls.
    pub(super) fn is_third(&self) -> bool {
        self.generation >= (3, 0)
    }

    /// Thinks at all.
    pub(super) fn thinks(&self) -> bool {
        self.generation >= (2, 5) || self.name.contains("thinking")
    }

    /// Is one of the large ones, which never stop thinking.
    pub(super) fn is_pro(&self) -> bool {
        self.name.contains("pro")
    }

    /// Is the first large one of the third generation, which knows two levels alone.
    pub(super) fn knows_two_levels(&self) -> bool {
        self.generation == (3, 0) && self.is_pro()
    }

    /// Knows the level `minimal`: the small ones do, and the middle ones did up to 3.6.
    pub(super) fn knows_minimal(&self) -> bool {
        self.is_lite() || self.draws() || !self.is_pro() && self.generation <= (3, 6)
    }

    /// Makes pictures. Those of the third generation that are not large know the levels at both ends alone.
    pub(super) fn draws(&self) -> bool {
        self.name.contains("image") && !self.is_pro()
    }

    /// Is one of the smallest.
    pub(super) fn is_lite(&self) -> bool {
        self.name.contains("lite")
    }
}

fn generation(name: &str) -> (u32, u32) {
    let Some((_, rest)) = name.split_once("gemini-") else { return NEWEST };
    let number = rest.split('-').next().unwrap_or_default();
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    match (major.parse(), minor.parse()) {
        (Ok(major), Ok(minor)) => (major, minor),
        _ => NEWEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_and_how_new() {
        let path = |name, cloud| Model::of(name, cloud).path("countTokens");
        assert_eq!(path("gemini-2.5-pro", Cloud::Api), "/models/gemini-2.5-pro:countTokens");
        assert_eq!(path("models/a b?", Cloud::Api), "/models/a%20b%3F:countTokens");
        assert_eq!(path("tunedModels/mine", Cloud::Api), "/tunedModels/mine:countTokens");
        assert_eq!(path("gemini-3-pro", Cloud::Vertex), "/publishers/google/models/gemini-3-pro:countTokens");
        assert_eq!(path("endpoints/12", Cloud::Vertex), "/endpoints/12:countTokens");
        let third = |name| Model::of(name, Cloud::Api).is_third();
        assert!(third("gemini-3-flash-preview") && third("gemini-3.8-flash") && third("gemini-flash-latest"));
        assert!(third("gemini-4-argon") && !third("gemini-2.5-pro") && !third("gemini-2.0-flash"));
        assert!(!Model::of("gemini-2.0-flash", Cloud::Api).thinks());
    }
}
