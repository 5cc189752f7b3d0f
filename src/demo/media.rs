//! Sound, images and forms: the smallest valid answers.

use bytes::{BufMut, Bytes, BytesMut};
use http::Response;
use memchr::{memchr, memmem};
use serde_json::json;

use super::body::Body;
use super::respond::{Birth, object, typed};

/// Samples per second of the tone.
const SAMPLE_RATE: u32 = 8000;

/// Samples of the tone: a quarter of a second.
const SAMPLES: u32 = 2000;

/// A PNG of one pixel.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// `POST /v1/audio/speech`: a short tone.
pub(super) fn speech() -> Response<Body> {
    typed("audio/wav", Body::whole(tone()))
}

/// A WAV file: 16 bits, mono, a triangle wave at about A4 that fades out.
fn tone() -> Bytes {
    let data_bytes = SAMPLES * 2;
    let mut out = BytesMut::with_capacity(44 + SAMPLES as usize * 2);
    out.put_slice(b"RIFF");
    out.put_u32_le(36 + data_bytes);
    out.put_slice(b"WAVEfmt ");
    out.put_u32_le(16);
    out.put_u16_le(1);
    out.put_u16_le(1);
    out.put_u32_le(SAMPLE_RATE);
    out.put_u32_le(SAMPLE_RATE * 2);
    out.put_u16_le(2);
    out.put_u16_le(16);
    out.put_slice(b"data");
    out.put_u32_le(data_bytes);
    for sample in 0..SAMPLES {
        // 18 samples a period: up for nine, down for nine.
        let phase = i64::from(sample % 18);
        let height = if phase < 9 { phase - 4 } else { 13 - phase };
        let loudness = i64::from(SAMPLES - sample);
        let value = height * 1500 * loudness / i64::from(SAMPLES);
        out.put_i16_le(i16::try_from(value).unwrap_or(0));
    }
    out.freeze()
}

/// `POST /v1/audio/{transcriptions,translations}`: what a form with `format` asks for.
pub(super) fn transcription(form: &[u8]) -> Response<Body> {
    let text = "The wheel turns as long as the water keeps coming.";
    match field(form, "response_format").as_deref() {
        Some("text") => typed("text/plain; charset=utf-8", Body::whole(format!("{text}\n"))),
        Some("verbose_json") => object(&json!({
            "task": "transcribe", "language": "english", "duration": 0.25, "text": text, "segments": [],
        })),
        _ => object(&json!({"text": text, "usage": {"type": "duration", "seconds": 1}})),
    }
}

/// `POST /v1/images/generations` and its relatives: one pixel for each of `n`.
pub(super) fn images(n: u64) -> Response<Body> {
    let data: Vec<_> = (0..n.clamp(1, 10)).map(|_| json!({"b64_json": PIXEL})).collect();
    object(&json!({"created": Birth::now().seconds(), "data": data}))
}

/// The value of a plain field of a `multipart/form-data` body. Good enough for forms that SDKs write.
pub(super) fn field(form: &[u8], name: &str) -> Option<String> {
    let mark = format!("name=\"{name}\"");
    let start = memmem::find(form, mark.as_bytes())?;
    let part = form.get(start..)?;
    let value = part.get(memmem::find(part, b"\r\n\r\n")? + 4..)?;
    let end = memmem::find(value, b"\r\n--")?;
    String::from_utf8(value.get(..end)?.to_vec()).ok()
}

/// The name and length of the file in a `multipart/form-data` body.
pub(super) fn file(form: &[u8]) -> Option<(String, usize)> {
    let start = memmem::find(form, b"filename=\"")? + 10;
    let part = form.get(start..)?;
    let name = part.get(..memchr(b'"', part)?)?;
    let content = part.get(memmem::find(part, b"\r\n\r\n")? + 4..)?;
    let length = memmem::find(content, b"\r\n--")?;
    Some((String::from_utf8_lossy(name).into_owned(), length))
}
