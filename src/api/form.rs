//! The `model` and `stream` parts of a `multipart/form-data` body, found without decoding the rest.
//!
//! Multipart parsers differ in what they forgive. What is decided here must be what the upstream reads, so
//! anything that two of them could read differently is refused: bare line feeds, folded or odd header lines,
//! text around a boundary, RFC 5987 names. What HTTP libraries write passes.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use crate::api::edit::{Splice, apply};
use crate::api::request::check_model;
use crate::error::{Error, Kind};

/// Bytes of the header block of one part; libraries write some two hundred.
const HEADER_BYTES_MAX: usize = 8 * 1024;
/// RFC 2046, 5.1.1.
const BOUNDARY_BYTES_MAX: usize = 70;

/// What the gateway needs to know of a form.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FormModel {
    model: Option<(String, Range<usize>)>,
    stream: Option<bool>,
}

impl FormModel {
    /// The model asked for, under the same rules as in a JSON body; some endpoints have a default.
    pub fn name(&self) -> Option<&str> {
        self.model.as_ref().map(|(name, _)| name.as_str())
    }

    /// Whether the `stream` part says true.
    pub fn stream(&self) -> bool {
        self.stream.unwrap_or(false)
    }
}

/// Scans a complete form. `content_type` is the value of the header.
pub fn model(content_type: &str, body: &[u8]) -> Result<FormModel, Error> {
    let delimiter = format!("\r\n--{}", boundary(content_type)?);
    // The first delimiter has no line before it, hence nothing of the CRLF.
    let first = &delimiter.as_bytes()[2..];
    let start = body.strip_prefix(b"\r\n").unwrap_or(body);
    let mut rest = start.strip_prefix(first).ok_or_else(|| malformed("it does not begin with its boundary"))?;
    let delimiter = memmem::Finder::new(delimiter.as_bytes());
    let mut form = FormModel::default();
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            return match end {
                b"" | b"\r\n" => Ok(form),
                _ => Err(malformed("something follows its end")),
            };
        }
        let part = rest.strip_prefix(b"\r\n").ok_or_else(|| malformed("a boundary is followed by text"))?;
        let (head, content) = split_head(part)?;
        let part_head = PartHead::parse(head)?;
        let end = delimiter.find(content).ok_or_else(|| malformed("its last boundary is missing"))?;
        let start = body.len() - content.len();
        form.take(&part_head, &content[..end], start)?;
        rest = &content[end + delimiter.needle().len()..];
    }
}

/// `body` with the model renamed. `form` must come from a scan of the same body and have a model; a form
/// without one is returned as it is.
pub fn rename(body: &Bytes, form: &FormModel, new: &str) -> Bytes {
    match &form.model {
        Some((name, range)) if name != new => {
            apply(body, &[Splice { range: range.clone(), with: new.to_owned() }])
        }
        _ => body.clone(),
    }
}

impl FormModel {
    /// Takes note of a part that stands at `start` of the body, if it is one of ours.
    fn take(&mut self, head: &PartHead<'_>, content: &[u8], start: usize) -> Result<(), Error> {
        let name = match head.name {
            "model" => "model",
            "stream" => "stream",
            _ => return Ok(()),
        };
        if head.is_file || head.is_encoded {
            return Err(refused(name, format!("`{name}` must be a plain text field of the form.")));
        }
        let text = str::from_utf8(content).map_err(|_| refused(name, format!("`{name}` is not valid UTF-8.")))?;
        let seen = if name == "model" {
            check_model(text).map_err(|problem| refused(name, problem.to_owned()))?;
            self.model.replace((text.to_owned(), start..start + content.len())).is_some()
        } else {
            let value = text.eq_ignore_ascii_case("true") || text == "1";
            self.stream.replace(value).is_some()
        };
        if seen { Err(refused(name, format!("`{name}` is given more than once."))) } else { Ok(()) }
    }
}

fn refused(param: &'static str, text: String) -> Error {
    Error::new(Kind::BadRequest, text).with_param(param)
}

fn malformed(problem: &str) -> Error {
    Error::new(Kind::BadRequest, format!("The request body is not a valid form: {problem}."))
}

/// The boundary named by a `content-type` value.
fn boundary(content_type: &str) -> Result<String, Error> {
    let refused = |problem| Error::new(Kind::BadRequest, format!("The content type is not usable: {problem}."));
    let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err(refused("this endpoint takes `multipart/form-data`"));
    }
    let mut boundary = None;
    for parameter in Parameters(parameters) {
        let (name, value) = parameter.map_err(refused)?;
        if name.eq_ignore_ascii_case("boundary") && boundary.replace(value).is_some() {
            return Err(refused("it has two boundaries"));
        }
    }
    let boundary = boundary.ok_or_else(|| refused("it has no boundary"))?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let length = 1..=BOUNDARY_BYTES_MAX;
    if !length.contains(&boundary.len()) || !boundary.bytes().all(legal) || boundary.ends_with(' ') {
        return Err(refused("its boundary is not a legal one"));
    }
    Ok(boundary.to_owned())
}

/// The header block, each line with its CRLF, and what follows the empty line.
fn split_head(part: &[u8]) -> Result<(&str, &[u8]), Error> {
    let window = &part[..part.len().min(HEADER_BYTES_MAX)];
    let end = memmem::find(window, b"\r\n\r\n").ok_or_else(|| malformed("the headers of a part do not end"))?;
    let head = str::from_utf8(&part[..end]).map_err(|_| malformed("the headers of a part are not UTF-8"))?;
    Ok((head, &part[end + 4..]))
}

/// What the headers of a part say.
struct PartHead<'a> {
    name: &'a str,
    is_file: bool,
    /// Has a transfer encoding that some parsers undo and others do not.
    is_encoded: bool,
}

impl<'a> PartHead<'a> {
    fn parse(head: &'a str) -> Result<Self, Error> {
        let mut disposition = None;
        let mut is_encoded = false;
        for line in head.split("\r\n") {
            // Covers folded lines, bare CR and LF, and a boundary inside the headers, unless it has a colon.
            let (name, value) = line
                .split_once(':')
                .filter(|(name, _)| {
                    is_field_name(name) && !name.starts_with("--") && !line.contains(['\r', '\n', '\0'])
                })
                .ok_or_else(|| malformed("a part has a malformed header"))?;
            if name.eq_ignore_ascii_case("content-disposition") {
                if disposition.replace(value).is_some() {
                    return Err(malformed("a part has two dispositions"));
                }
            } else if name.eq_ignore_ascii_case("content-transfer-encoding") {
                let value = value.trim().to_ascii_lowercase();
                is_encoded |= !matches!(value.as_str(), "7bit" | "8bit" | "binary");
            }
        }
        let disposition = disposition.ok_or_else(|| malformed("a part has no disposition"))?;
        let (form_data, parameters) = disposition.split_once(';').unwrap_or((disposition, ""));
        if !form_data.trim().eq_ignore_ascii_case("form-data") {
            return Err(malformed("a part is no form data"));
        }
        let (mut name, mut is_file) = (None, false);
        for parameter in Parameters(parameters) {
            let (key, value) = parameter.map_err(malformed)?;
            let key = key.to_ascii_lowercase();
            if key == "name" {
                if value.contains('\\') || name.replace(value).is_some() {
                    return Err(malformed("the name of a part is ambiguous"));
                }
            } else if key.starts_with("name*") {
                return Err(malformed("the name of a part is encoded"));
            } else if key.starts_with("filename") {
                is_file = true;
            }
        }
        let name = name.ok_or_else(|| malformed("a part has no name"))?;
        Ok(Self { name, is_file, is_encoded })
    }
}

fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Iterates over `name=value; name="value"`. Values come without their quotes. It ends at the first error.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<(&'a str, &'a str), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.trim_start_matches([' ', '\t', ';']);
        self.0 = "";
        if text.is_empty() {
            return None;
        }
        Some(parameter(text).map(|(name, value, rest)| {
            self.0 = rest;
            (name, value)
        }))
    }
}

/// The first parameter of `text`: its name, its value, and what follows. A quote cannot be escaped in a
/// value, because browsers and RFC 2045 disagree about how.
fn parameter(text: &str) -> Result<(&str, &str, &str), &'static str> {
    let (name, value) = text.split_once('=').ok_or("a parameter has no value")?;
    let (value, rest) = if let Some(quoted) = value.strip_prefix('"') {
        let (value, rest) = quoted.split_once('"').ok_or("a quote is missing")?;
        if value.ends_with('\\') {
            return Err("a quote is escaped");
        }
        (value, rest.trim_start_matches([' ', '\t']))
    } else {
        let (value, rest) = value.split_at(value.find(';').unwrap_or(value.len()));
        (value.trim_end_matches([' ', '\t']), rest)
    };
    let odd_name = name.is_empty() || name.contains([' ', '\t', '"', ';']);
    if odd_name || !(rest.is_empty() || rest.starts_with(';')) {
        return Err("a parameter is malformed");
    }
    Ok((name, value, rest))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=XX";

    fn part(headers: &str, content: &str) -> String {
        format!("--XX\r\n{headers}\r\n\r\n{content}\r\n")
    }

    fn field(name: &str, content: &str) -> String {
        part(&format!("Content-Disposition: form-data; name=\"{name}\""), content)
    }

    fn form(parts: &[String]) -> String {
        format!("{}--XX--\r\n", parts.concat())
    }

    fn check(body: &str, name: Option<&str>, stream: bool) {
        let found = model(TYPE, body.as_bytes()).expect(body);
        assert_eq!((found.name(), found.stream()), (name, stream), "{body}");
        let body = Bytes::copy_from_slice(body.as_bytes());
        let renamed = rename(&body, &found, "new/model");
        match &found.model {
            Some((old, range)) => {
                assert_eq!(&body[range.clone()], old.as_bytes());
                assert_eq!(model(TYPE, &renamed).expect("still a form").name(), Some("new/model"));
                assert_eq!(renamed.len(), body.len() - old.len() + "new/model".len());
                assert_eq!(renamed[..range.start], body[..range.start]);
                assert_eq!(renamed[range.start + "new/model".len()..], body[range.end..]);
            }
            None => assert_eq!(renamed.as_ptr(), body.as_ptr()),
        }
    }

    #[test]
    fn model_and_stream_are_found() {
        let file = part(
            "Content-Disposition: form-data; name=\"file\"; filename=\"C:\\a.mp3\"\r\nContent-Type: audio/mpeg",
            "\0\n--XX\nname=\"model\"\r\n\r\n\r\n-XX\r\n--X\r\n",
        );
        check(
            &form(&[]).replace("--XX--", "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--XX--"),
            None,
            false,
        );
        check(&form(from_ref(&file)), None, false);
        check(&form(&[file.clone(), field("model", "whisper-1")]), Some("whisper-1"), false);
        check(
            &form(&[field("model", "whisper-1"), file.clone(), field("stream", "true")]),
            Some("whisper-1"),
            true,
        );
        check(&form(&[field("stream", "True")]), None, true);
        check(&form(&[field("stream", "false"), field("models", "x"), field("Model", "y")]), None, false);
        check(&form(&[part("content-disposition:form-data;name=model", "m")]), Some("m"), false);
        check(&form(&[part("CONTENT-DISPOSITION: Form-Data ; NAME=\"model\" ; x=y", "ä/b")]), Some("ä/b"), false);
        check(
            &form(&[part("Content-Type: text/plain\r\nContent-Disposition: form-data; name=\"model\"", "m")]),
            Some("m"),
            false,
        );
        check(&format!("\r\n{}", form(&[field("model", "m")])), Some("m"), false);
        check(form(&[field("model", "m")]).trim_end(), Some("m"), false);
    }

    #[test]
    fn ambiguous_or_broken_forms_are_refused() {
        let model_field = field("model", "m");
        let head = "Content-Disposition: form-data; name=\"model\"";
        for (body, text) in [
            (String::new(), "begin with its boundary"),
            (format!("preamble\r\n{}", form(from_ref(&model_field))), "begin with its boundary"),
            (form(from_ref(&model_field)).replace("\r\n", "\n"), "followed by text"),
            (model_field.clone(), "last boundary is missing"),
            (format!("{model_field}--XXY"), "followed by text"),
            (format!("{model_field}--XX \r\n"), "followed by text"),
            (format!("{model_field}--XX--\r\n{model_field}"), "follows its end"),
            (form(&[model_field.clone(), field("model", "m")]), "more than once"),
            (form(&[field("stream", "true"), field("stream", "false")]), "more than once"),
            (form(&[field("model", "")]), "empty"),
            (form(&[field("model", "a\r\nb")]), "control"),
            (form(&[field("model", &"a".repeat(257))]), "longer"),
            (form(&[field("mo\\del", "m")]), "ambiguous"),
            (form(&[field("file\\\"; name=\\\"model", "m")]), "escaped"),
            (form(&[part(&format!("{head}; name=\"other\""), "m")]), "ambiguous"),
            (form(&[part(&format!("{head}\r\n{head}"), "m")]), "two dispositions"),
            (form(&[part("Content-Disposition: form-data; name*=UTF-8''model", "m")]), "encoded"),
            (form(&[part("Content-Disposition: form-data; filename=x", "m")]), "no name"),
            (form(&[part("Content-Disposition: attachment; name=model", "m")]), "no form data"),
            (form(&[part("Content-Type: text/plain", "m")]), "no disposition"),
            (form(&[part("Content-Disposition: form-data;\r\n name=model", "m")]), "malformed header"),
            (form(&[part("Content-Disposition : form-data; name=model", "m")]), "malformed header"),
            (form(&[part("Content-Disposition: form-data\n; name=model", "m")]), "malformed header"),
            (form(&[part("Content-Disposition: form-data; name=\"model", "m")]), "quote is missing"),
            (form(&[part("Content-Disposition: form-data; name=\"model\"x", "m")]), "parameter is malformed"),
            (form(&[part("Content-Disposition: form-data; model", "m")]), "no value"),
            (form(&[part(&format!("{head}; filename=\"x\""), "m")]), "plain text"),
            (form(&[part(&format!("{head}\r\nContent-Transfer-Encoding: base64"), "bQ==")]), "plain text"),
            (format!("--XX\r\n{head}\r\n--XX--\r\n\r\n"), "malformed header"),
            (format!("--XX\r\n{head}\r\nX: {}\r\n\r\nm\r\n--XX--", "a".repeat(HEADER_BYTES_MAX)), "do not end"),
        ] {
            let refused = model(TYPE, body.as_bytes()).expect_err(&body);
            assert_eq!(refused.kind(), Kind::BadRequest);
            assert!(refused.detail().contains(text), "{body}: {refused}");
        }
        let body = form(&[field("model", "m")]).into_bytes();
        let binary: Vec<u8> = body.iter().map(|byte| if *byte == b'm' { 0xff } else { *byte }).collect();
        assert!(model(TYPE, &binary).is_err());
    }

    #[test]
    fn boundaries_are_read_from_the_content_type() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("Multipart/Form-Data;Boundary=\"a b:c\"; charset=utf-8", Some("a b:c")),
            (
                "multipart/form-data; charset=utf-8; boundary=----WebKitFormBoundaryX",
                Some("----WebKitFormBoundaryX"),
            ),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=\"a", None),
            ("multipart/form-data; boundary=\"a \"", None),
            ("multipart/form-data; boundary=a; boundary=b", None),
            ("multipart/form-data; boundary=a\u{e4}", None),
            ("multipart/mixed; boundary=a", None),
            ("application/json", None),
        ] {
            assert_eq!(boundary(content_type).ok().as_deref(), expected, "{content_type}");
        }
        let long = format!("multipart/form-data; boundary={}", "a".repeat(BOUNDARY_BYTES_MAX + 1));
        assert!(boundary(&long).is_err());
    }
}
