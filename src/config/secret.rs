//! Secrets from the environment or from files. Nothing here repeats one in a problem.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::env::is_variable_name;
use super::raw::{Table, Value};

/// Bytes of a key: a header may hold no more with the others beside it.
const KEY_BYTES_MAX: u64 = 4096;

/// Reads a file that must exist, to know now rather than at the first request.
pub(super) fn readable_pem(value: &Value<'_>) -> Option<PathBuf> {
    let path = value.document().resolve(&value.text()?);
    match std::fs::read(&path) {
        Ok(bytes) if memchr::memmem::find(&bytes, b"-----BEGIN ").is_some() => Some(path),
        Ok(_) => {
            value.refuse("the file holds no PEM block".to_owned(), "name a PEM file".to_owned());
            None
        }
        Err(error) => {
            value.refuse(format!("{} cannot be read: {error}", path.display()), String::new());
            None
        }
    }
}

/// The secret that `key_env` or `key_file` of `table` names, with its place; `None` also for a problem.
///
/// `also` is a third key that excludes these two.
pub(super) fn read<'d>(
    table: &mut Table<'d>,
    also: Option<&Value<'d>>,
) -> Result<Option<(SecretString, Value<'d>)>, ()> {
    read_as(table, ["key_env", "key_file"], also)
}

/// The same of the secret that one of two other settings names.
pub(super) fn read_as<'d>(
    table: &mut Table<'d>,
    [env, file]: [&'static str; 2],
    also: Option<&Value<'d>>,
) -> Result<Option<(SecretString, Value<'d>)>, ()> {
    let env = table.take(env);
    let file = table.take(file);
    if usize::from(env.is_some()) + usize::from(file.is_some()) + usize::from(also.is_some()) > 1 {
        let value = file.as_ref().or(env.as_ref()).expect("one of several keys is one of these two");
        value.refuse_unseen("a key has one source".to_owned(), "remove the other source".to_owned());
        return Err(());
    }
    match (env, file) {
        (Some(value), _) => from_variable(&value).map(|secret| Some((secret, value))),
        (None, Some(value)) => from_file(&value).map(|secret| Some((secret, value))),
        (None, None) => Ok(None),
    }
}

/// The secret in the variable that `value` names.
pub(super) fn from_variable(value: &Value<'_>) -> Result<SecretString, ()> {
    let name = value.text_unseen().ok_or(())?;
    // Somebody may have written the key itself, so only what looks like the name of a variable is repeated.
    if !is_variable_name(&name) {
        let remedy = "write the variable's name, not the key: key_env = \"OPENAI_API_KEY\"";
        value.refuse_unseen("not the name of an environment variable".to_owned(), remedy.to_owned());
        return Err(());
    }
    let shown = if name.bytes().any(|b| b.is_ascii_lowercase()) { "named here".to_owned() } else { name.clone() };
    let Some(secret) = value.document().env.get(&name) else {
        value.refuse_unseen(format!("the environment variable {shown} is not set"), String::new());
        return Err(());
    };
    checked(secret, value)
}

/// The secret in the file that `value` names, less its final line break.
fn from_file(value: &Value<'_>) -> Result<SecretString, ()> {
    let written = value.text_unseen().ok_or(())?;
    let path = value.document().resolve(&written);
    let mut secret = match read_bounded(&path) {
        Ok(secret) => secret,
        Err(error) => {
            // The path is not repeated: somebody may have written the key itself.
            let shown = if written.contains('/') { path.display().to_string() } else { "the file".to_owned() };
            value.refuse_unseen(format!("{shown} cannot be read: {error}"), String::new());
            return Err(());
        }
    };
    secret.truncate(secret.trim_end_matches(['\r', '\n']).len());
    checked(secret, value)
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(KEY_BYTES_MAX + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// A secret that can stand in an `authorization` header.
fn checked(secret: String, value: &Value<'_>) -> Result<SecretString, ()> {
    let secret = SecretString::from(secret);
    let text = secret.expose_secret();
    let what = if text.is_empty() {
        "the key is empty".to_owned()
    } else if text.len() as u64 > KEY_BYTES_MAX {
        format!("the key is longer than {KEY_BYTES_MAX} bytes")
    } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
        "the key holds blanks or characters that no HTTP header takes".to_owned()
    } else {
        return Ok(secret);
    };
    value.refuse_unseen(what, String::new());
    Err(())
}
