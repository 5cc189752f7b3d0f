//! Numbers, durations, sizes, choices: a value of the file within its bounds, or a problem.
//!
//! A number or a flag may also come from a variable: `"${WORKERS:-4}"`.

use std::fmt::Display;
use std::time::Duration;

use bytesize::ByteSize;
use toml::de::DeValue;

use super::defaults::Setting;
use super::raw::{Table, Value};

/// What a scalar turned out to be.
enum Scalar {
    Text(String),
    Whole(u64),
    Other,
}

impl Value<'_> {
    /// The value with variables filled in; a string made of variables may be a number.
    fn scalar(&self) -> Option<Scalar> {
        match self.raw() {
            DeValue::String(written) => {
                let text = self.text()?;
                match text.parse() {
                    Ok(number) if written.contains("${") => Some(Scalar::Whole(number)),
                    _ => Some(Scalar::Text(text)),
                }
            }
            DeValue::Integer(integer) => match u64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(number) => Some(Scalar::Whole(number)),
                Err(_) => Some(Scalar::Other),
            },
            _ => Some(Scalar::Other),
        }
    }

    /// Whether the value is the string `word`.
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self.raw(), DeValue::String(text) if self.document().env.expand(text).is_ok_and(|t| t == word))
    }

    /// A whole number from `least` to `most`.
    pub(super) fn whole<T>(&self, least: T, most: T) -> Option<T>
    where
        T: Copy + Display + PartialOrd + TryFrom<u64>,
    {
        let number = match self.scalar()? {
            Scalar::Whole(number) => T::try_from(number).ok().filter(|n| *n >= least && *n <= most),
            _ => None,
        };
        if number.is_none() {
            self.refuse("not a whole number in bounds".to_owned(), format!("write {least} to {most}"));
        }
        number
    }

    /// A duration such as `"30s"` from `least` to `most`. What else the caller accepts is `alternative`.
    pub(super) fn duration(&self, least: Duration, most: Duration, alternative: &str) -> Option<Duration> {
        let range = || format!("write \"{}\" to \"{}\"{alternative}", duration_text(least), duration_text(most));
        match self.scalar()? {
            Scalar::Text(text) => match humantime::parse_duration(&text) {
                Ok(duration) if duration >= least && duration <= most => return Some(duration),
                Ok(_) => self.refuse("out of bounds".to_owned(), range()),
                Err(_) => self.refuse("not a duration such as \"30s\"".to_owned(), range()),
            },
            Scalar::Whole(_) => self.refuse("a duration needs a unit".to_owned(), range()),
            Scalar::Other => self.refuse("not a duration such as \"30s\"".to_owned(), range()),
        }
        None
    }

    /// A number of bytes such as `"64KiB"` or `65536` from `least` to `most`.
    pub(super) fn size(&self, least: usize, most: usize) -> Option<usize> {
        let bytes = match self.scalar()? {
            Scalar::Whole(bytes) => Some(bytes),
            Scalar::Text(text) => text.parse::<ByteSize>().ok().map(|size| size.as_u64()),
            Scalar::Other => None,
        };
        let range = || format!("write \"{}\" to \"{}\"", size_text(least), size_text(most));
        let Some(bytes) = bytes else {
            self.refuse("not a size such as \"64KiB\"".to_owned(), range());
            return None;
        };
        let size = usize::try_from(bytes).ok().filter(|size| *size >= least && *size <= most);
        if size.is_none() {
            self.refuse("out of bounds".to_owned(), range());
        }
        size
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        let flag = match self.raw() {
            DeValue::Boolean(flag) => Some(*flag),
            DeValue::String(written) if written.contains("${") => self.text()?.parse().ok(),
            _ => None,
        };
        if flag.is_none() {
            self.refuse("not a flag".to_owned(), "write true or false".to_owned());
        }
        flag
    }

    /// A number, whole or not, from `least` to `most`.
    pub(super) fn real(&self, least: f64, most: f64) -> Option<f64> {
        let number: Option<f64> = match self.raw() {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) => integer.as_str().parse().ok(),
            DeValue::String(written) if written.contains("${") => self.text()?.parse().ok(),
            _ => None,
        };
        let number = number.filter(|n| *n >= least && *n <= most);
        if number.is_none() {
            self.refuse("not a number in bounds".to_owned(), format!("write {least} to {most}"));
        }
        number
    }

    /// One of several words, each with its meaning.
    pub(super) fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let chosen = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if chosen.is_none() {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.refuse("not one of the choices".to_owned(), format!("write {}", known.join(" or ")));
        }
        chosen
    }
}

impl Table<'_> {
    /// The whole number `key`, or its default.
    pub(super) fn whole<T>(&mut self, key: &'static str, setting: &Setting<T>) -> T
    where
        T: Copy + Display + PartialOrd + TryFrom<u64>,
    {
        self.take(key).and_then(|value| value.whole(setting.least, setting.most)).unwrap_or(setting.default)
    }

    /// The whole number `key`, or `None` for `word` (such as `"auto"`) and by default.
    pub(super) fn whole_or<T>(&mut self, key: &'static str, word: &str, setting: &Setting<T, ()>) -> Option<T>
    where
        T: Copy + Display + PartialOrd + TryFrom<u64>,
    {
        self.take(key).filter(|value| !value.is(word)).and_then(|value| {
            if matches!(value.raw(), DeValue::String(written) if !written.contains('$')) {
                let remedy = format!("write {} to {}, or \"{word}\"", setting.least, setting.most);
                value.refuse("not a whole number".to_owned(), remedy);
                return None;
            }
            value.whole(setting.least, setting.most)
        })
    }

    /// The duration `key`, or its default.
    pub(super) fn duration(&mut self, key: &'static str, setting: &Setting<Duration>) -> Duration {
        self.take(key).and_then(|value| value.duration(setting.least, setting.most, "")).unwrap_or(setting.default)
    }

    /// The duration `key`, `None` for `"off"`, or its default.
    pub(super) fn duration_or_off(
        &mut self,
        key: &'static str,
        setting: &Setting<Duration, Option<Duration>>,
    ) -> Option<Duration> {
        match self.take(key) {
            None => setting.default,
            Some(value) if value.is("off") => None,
            Some(value) => value.duration(setting.least, setting.most, ", or \"off\""),
        }
    }

    /// The number of bytes `key`, or its default.
    pub(super) fn size(&mut self, key: &'static str, setting: &Setting<usize>) -> usize {
        self.take(key).and_then(|value| value.size(setting.least, setting.most)).unwrap_or(setting.default)
    }

    /// The number `key`, whole or not, or its default.
    pub(super) fn real(&mut self, key: &'static str, setting: &Setting<f64>) -> f64 {
        self.take(key).and_then(|value| value.real(setting.least, setting.most)).unwrap_or(setting.default)
    }

    /// The flag `key`, or its default.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.take(key).and_then(|value| value.flag()).unwrap_or(default)
    }

    /// One of several words, or the default.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)], default: T) -> T {
        self.take(key).and_then(|value| value.choice(words)).unwrap_or(default)
    }
}

/// A duration in the form that the file takes, such as `1m 50s`.
pub(super) fn duration_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A number of bytes in the form that the file takes, such as `64KiB`; exact.
pub(super) fn size_text(bytes: usize) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}
