//! Writes pictures, documents, films and sounds (Amazon Bedrock API Reference: `ImageBlock`, `DocumentBlock`,
//! `VideoBlock`, `AudioBlock`). The API fetches nothing but what lies in Amazon's S3.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::dialects::conversation::{Media, Source};

/// Characters of a document's name.
const NAME_CHARS_MAX: usize = 200;

/// Writes media, and remembers what documents are called, which must differ.
#[derive(Debug, Default)]
pub(super) struct Documents {
    names: BTreeSet<String>,
}

impl Documents {
    /// What a medium is in a request; `None` if the API has no way to say it.
    pub(super) fn block(&mut self, media: &Media) -> Option<Value> {
        let kind = kind(media);
        let source = source(&media.source)?;
        let format = format(kind, media)?;
        let block = json!({ "format": format, "source": source });
        Some(match kind {
            Kind::Image => json!({ "image": block }),
            Kind::Video => json!({ "video": block }),
            Kind::Audio => json!({ "audio": block }),
            Kind::Document => {
                let name = self.name(media.name.as_deref());
                json!({ "document": { "format": format, "name": name, "source": source } })
            }
        })
    }

    /// A name with nothing in it but letters, digits, single spaces, hyphens, parentheses and square brackets.
    fn name(&mut self, given: Option<&str>) -> String {
        let given = given.unwrap_or_default();
        let stem = given.rsplit_once('.').map_or(given, |(stem, _)| stem);
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '(' | ')' | '[' | ']');
        let blanked: String = stem.chars().map(|c| if fits(c) { c } else { ' ' }).collect();
        let joined = blanked.split_whitespace().collect::<Vec<_>>().join(" ");
        let base: String = match &*joined {
            "" => "Document".to_owned(),
            // Room for a number.
            name => name.chars().take(NAME_CHARS_MAX - 10).collect::<String>().trim_end().to_owned(),
        };
        let mut name = base.clone();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            number += 1;
            name = format!("{base} {number}");
        }
        name
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Image,
    Video,
    Audio,
    Document,
}

fn kind(media: &Media) -> Kind {
    let major = media.media_type.as_deref().and_then(|kind| kind.split('/').next());
    match major.unwrap_or(media.kind) {
        "image" => Kind::Image,
        "video" => Kind::Video,
        "audio" => Kind::Audio,
        _ => match media.kind {
            "image" => Kind::Image,
            "video" => Kind::Video,
            "audio" => Kind::Audio,
            _ => Kind::Document,
        },
    }
}

fn source(source: &Source) -> Option<Value> {
    match source {
        Source::Base64(bytes) => Some(json!({ "bytes": bytes })),
        Source::Text(text) => Some(json!({ "bytes": STANDARD.encode(text) })),
        Source::Url(url) if url.starts_with("s3://") => Some(json!({ "s3Location": { "uri": url } })),
        Source::Url(_) | Source::Id(_) => None,
    }
}

/// The API's word for a format, from the media type or, failing that, from a name's ending.
fn format(kind: Kind, media: &Media) -> Option<&'static str> {
    let minor = media.media_type.as_deref().and_then(|kind| kind.split(';').next());
    let minor = minor.and_then(|kind| kind.split_once('/')).map(|(_, minor)| minor.trim().to_ascii_lowercase());
    let address = match &media.source {
        Source::Url(url) => Some(url.as_str()),
        _ => None,
    };
    let ending = media.name.as_deref().or(address).and_then(|name| name.rsplit_once('.')).map(|(_, end)| end);
    let ending = ending.map(str::to_ascii_lowercase);
    let known = [minor, ending].into_iter().flatten().find_map(|word| match kind {
        Kind::Image => image_format(&word),
        Kind::Video => video_format(&word),
        Kind::Audio => audio_format(&word),
        Kind::Document => document_format(&word),
    });
    let is_text = kind == Kind::Document && matches!(media.source, Source::Text(_));
    known.or_else(|| is_text.then_some("txt"))
}

fn image_format(word: &str) -> Option<&'static str> {
    Some(match word {
        "png" => "png",
        "jpeg" | "jpg" => "jpeg",
        "gif" => "gif",
        "webp" => "webp",
        _ => return None,
    })
}

fn document_format(word: &str) -> Option<&'static str> {
    Some(match word {
        "pdf" => "pdf",
        "csv" => "csv",
        "msword" | "doc" => "doc",
        "vnd.openxmlformats-officedocument.wordprocessingml.document" | "docx" => "docx",
        "vnd.ms-excel" | "xls" => "xls",
        "vnd.openxmlformats-officedocument.spreadsheetml.sheet" | "xlsx" => "xlsx",
        "html" | "htm" => "html",
        "plain" | "txt" | "json" | "xml" | "yaml" => "txt",
        "markdown" | "x-markdown" | "md" => "md",
        _ => return None,
    })
}

fn video_format(word: &str) -> Option<&'static str> {
    Some(match word {
        "x-matroska" | "mkv" => "mkv",
        "quicktime" | "mov" => "mov",
        "mp4" => "mp4",
        "webm" => "webm",
        "x-flv" | "flv" => "flv",
        "mpeg" => "mpeg",
        "mpg" => "mpg",
        "x-ms-wmv" | "wmv" => "wmv",
        "3gpp" | "3gp" => "three_gp",
        _ => return None,
    })
}

fn audio_format(word: &str) -> Option<&'static str> {
    Some(match word {
        "mp3" | "mpeg" => "mp3",
        "wav" | "x-wav" | "wave" => "wav",
        "opus" => "opus",
        "aac" => "aac",
        "flac" | "x-flac" => "flac",
        "mp4" => "mp4",
        "m4a" | "x-m4a" => "m4a",
        "ogg" => "ogg",
        "webm" => "webm",
        "pcm" | "l16" | "pcm16" => "pcm",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(kind: &'static str, media_type: &str, source: Source) -> Media {
        Media::new(kind, (!media_type.is_empty()).then(|| media_type.to_owned()), source)
    }

    fn base64() -> Source {
        Source::Base64("AAAA".to_owned())
    }

    #[test]
    fn each_kind_has_its_block() {
        let mut documents = Documents::default();
        for (given, expected) in [
            (
                media("image", "image/jpg", base64()),
                json!({ "image": { "format": "jpeg", "source": { "bytes": "AAAA" } } }),
            ),
            (
                media("file", "image/png", base64()),
                json!({ "image": { "format": "png", "source": { "bytes": "AAAA" } } }),
            ),
            (
                media("file", "text/plain", Source::Text("hi".to_owned())),
                json!({ "document": { "format": "txt", "name": "Document", "source": { "bytes": "aGk=" } } }),
            ),
            (
                media("video", "video/3gpp", base64()),
                json!({ "video": { "format": "three_gp", "source": { "bytes": "AAAA" } } }),
            ),
            (
                media("audio", "audio/x-wav", base64()),
                json!({ "audio": { "format": "wav", "source": { "bytes": "AAAA" } } }),
            ),
            (
                media("image", "", Source::Url("s3://bucket/a.webp".to_owned())),
                json!({ "image": { "format": "webp", "source": { "s3Location": { "uri": "s3://bucket/a.webp" } } } }),
            ),
        ] {
            assert_eq!(documents.block(&given), Some(expected));
        }
        for none in [
            media("image", "image/png", Source::Url("https://example.com/a.png".to_owned())),
            media("image", "image/tiff", base64()),
            media("file", "application/pdf", Source::Id("file-1".to_owned())),
            media("file", "application/zip", base64()),
        ] {
            assert_eq!(documents.block(&none), None);
        }
    }

    #[test]
    fn names_are_plain_and_differ() {
        let mut documents = Documents::default();
        let mut name = |given| documents.name(given);
        assert_eq!(name(Some("my_report: v1.2.pdf")), "my report v1 2");
        assert_eq!(name(Some("my report v1 2.pdf")), "my report v1 2 2");
        assert_eq!(name(None), "Document");
        assert_eq!(name(Some("…")), "Document 2");
        let long = "n".repeat(400);
        assert_eq!(name(Some(&long)).len(), 190);
        assert_eq!(name(Some(&long)).len(), 192);
    }
}
