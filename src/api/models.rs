//! The answers of `GET /v1/models` and `GET /v1/models/{id}`, in OpenAI's form.

use bytes::Bytes;
use serde::Serialize;

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

impl<'a> Model<'a> {
    fn new(id: &'a str, owned_by: &'a str, created: u64) -> Self {
        Self { id, object: "model", created, owned_by }
    }
}

/// The list of `models`, each a name and its owner (the upstream's name). `created` is in Unix seconds, the
/// same for all; 0 says that it is unknown.
pub fn list<'a>(models: impl IntoIterator<Item = (&'a str, &'a str)>, created: u64) -> Bytes {
    let data = models.into_iter().map(|(id, owned_by)| Model::new(id, owned_by, created)).collect();
    json(&List { object: "list", data })
}

/// One model; parameters as for [`list`].
pub fn item(id: &str, owned_by: &str, created: u64) -> Bytes {
    json(&Model::new(id, owned_by, created))
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("strings and numbers are always JSON").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_openais_form() {
        let item_json = r#"{"id":"a/\"b","object":"model","created":7,"owned_by":"up"}"#;
        assert_eq!(item("a/\"b", "up", 7), item_json);
        assert_eq!(list([("a/\"b", "up")], 7), format!(r#"{{"object":"list","data":[{item_json}]}}"#));
        assert_eq!(list([], 0), r#"{"object":"list","data":[]}"#);
    }
}
