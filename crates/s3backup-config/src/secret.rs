//! Secrets, which are never in the file: it names a variable or a file that holds one.

use std::path::Path;

use s3backup_core::options::Secret;

use crate::kind::is_variable;
use crate::resolve::Resolver;

/// Reads a secret of a table from where one of `NAME_env` and `NAME_file` leads to. No message holds it.
pub(crate) fn secret(
    resolver: &mut Resolver<'_>,
    table: &str,
    name: &str,
    variable: Option<&str>,
    file: Option<&Path>,
) -> Option<Secret> {
    let (key, found) = match (variable, file) {
        (Some(_), Some(_)) => {
            let message = format!("{name}_env and {name}_file are both set; choose one of them");
            resolver.problem(format!("{table}.{name}_file"), message);
            return None;
        }
        (Some(variable), None) => (format!("{table}.{name}_env"), from_variable(resolver, variable)),
        (None, Some(file)) => (format!("{table}.{name}_file"), from_file(&resolver.absolute(file))),
        (None, None) => return None,
    };
    match found {
        Ok(secret) => Some(secret),
        Err(message) => {
            resolver.problem(key, message);
            None
        }
    }
}

fn from_variable(resolver: &Resolver<'_>, name: &str) -> Result<Secret, String> {
    if !is_variable(name) {
        return Err("expected the name of an environment variable that holds the secret".to_owned());
    }
    let secret = resolver.request.variable(name).map(Secret::new);
    let secret = secret.ok_or_else(|| format!("the environment variable {name} is not set"))?;
    if secret.is_empty() { Err(format!("the environment variable {name} is empty")) } else { Ok(secret) }
}

fn from_file(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path);
    let secret = text.map(Secret::new).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if secret.is_empty() { Err(format!("the file {} is empty", path.display())) } else { Ok(secret) }
}
