//! Citations of texts (Anthropic API reference, citations and the web search tool).

use serde_json::{Value, json};

use crate::dialects::conversation::Annotation;

/// What a citation refers to. Its places are counted in what is cited, not in the answer, so they stay in `raw`.
pub(super) fn read(raw: Value) -> Annotation {
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| raw.get(*name).and_then(Value::as_str));
        found.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    // A search result's `source` is its address.
    let url = text(&["url", "source"]);
    let title = text(&["title", "document_title"]);
    Annotation { url, title, cited: text(&["cited_text"]), range: None, raw }
}

/// The citation that an annotation is: the provider's own, or for what has an address the form of a web search's result.
pub(super) fn write(annotation: &Annotation) -> Option<Value> {
    let kind = annotation.raw.get("type").and_then(Value::as_str);
    if kind.is_some_and(|kind| kind.ends_with("_location")) {
        return Some(annotation.raw.clone());
    }
    let url = annotation.url.as_deref()?;
    Some(json!({
        "type": "web_search_result_location",
        "url": url,
        "title": annotation.title,
        "cited_text": annotation.cited.as_deref().unwrap_or_default(),
        // Only Anthropic's own servers can fill it, and read it.
        "encrypted_index": "",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_citation_comes_back_as_it_was() {
        for raw in [
            json!({"type": "char_location", "cited_text": "it", "document_title": "D", "start_char_index": 1}),
            json!({"type": "web_search_result_location", "url": "https://a.example/", "encrypted_index": "x"}),
        ] {
            assert_eq!(write(&read(raw.clone())), Some(raw));
        }
        let search = read(json!({"type": "search_result_location", "source": "https://a.example/", "title": ""}));
        assert_eq!((search.url.as_deref(), search.title), (Some("https://a.example/"), None));
    }

    #[test]
    fn what_others_cite_takes_the_form_of_a_search() {
        let annotation = Annotation {
            url: Some("https://a.example/".into()),
            raw: json!({"type": "url_citation"}),
            ..Annotation::default()
        };
        let citation = write(&annotation).expect("it has an address");
        assert_eq!(citation["type"], "web_search_result_location");
        assert_eq!(citation["cited_text"], "");
        assert_eq!(citation["title"], Value::Null);
        assert_eq!(write(&Annotation::default()), None);
    }
}
