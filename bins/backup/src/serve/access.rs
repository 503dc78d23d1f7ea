//! Who may ask: by which name this machine was called, and with which token.

use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use hyper::http::uri::Authority;
use s3backup_core::options::Secret;
use subtle::ConstantTimeEq;

use crate::cli;
use crate::exit::Stop;

/// Who may ask.
#[derive(Debug)]
pub(crate) struct Access {
    token: Option<Secret>,
    names: Vec<String>,
}

impl Access {
    /// As the command line says.
    pub(crate) fn of(arguments: &cli::Schedule) -> Result<Self, Stop> {
        let token = token(arguments)?;
        if !arguments.listen.ip().is_loopback() {
            let listen = arguments.listen;
            if !arguments.allow_remote {
                return Err(Stop::usage(format!(
                    "--listen {listen} can be reached from other machines: add --allow-remote and a token, or listen on 127.0.0.1"
                )));
            }
            if token.is_none() {
                return Err(Stop::usage(format!(
                    "--listen {listen} needs a token: name a variable or a file that holds one with --token-env or --token-file"
                )));
            }
        }
        let names = arguments.host_name.iter().map(|name| plain(name)).collect();
        Ok(Self { token, names })
    }

    /// The token that opens everything.
    pub(crate) fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// Whether the client calls this machine by an address, or by a name that it has. A page of somebody else whose name
    /// was made to lead here (DNS rebinding) does not.
    pub(crate) fn is_called_right(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else {
            return false;
        };
        let name = plain(authority.host());
        let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        is_address || name == "localhost" || self.names.contains(&name)
    }

    /// Whether the client has the token, if there is one.
    pub(crate) fn is_allowed(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(given);
        given.is_some_and(|given| given.as_bytes().ct_eq(token.expose().as_bytes()).into())
    }
}

/// The token in a header: `Bearer TOKEN`, or `Basic` with any user and the token as password.
fn given(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
    Some(decoded.split_once(':')?.1.to_owned())
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn token(arguments: &cli::Schedule) -> Result<Option<Secret>, Stop> {
    let (from, text) = match (&arguments.token_env, &arguments.token_file) {
        (Some(name), _) => {
            let text = std::env::var(name);
            let why = |error| Stop::usage(format!("--token-env {name}: {error}"));
            (format!("--token-env {name}"), text.map_err(why)?)
        }
        (None, Some(path)) => {
            let from = format!("--token-file {}", path.display());
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| Stop::usage(format!("{from}: {error}")))?;
            (from, text)
        }
        (None, None) => return Ok(None),
    };
    let token = Secret::new(text);
    if token.is_empty() { Err(Stop::usage(format!("{from}: it is empty"))) } else { Ok(Some(token)) }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    fn headers(of: &[(HeaderName, &str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_name_that_is_not_its_own_is_refused() {
        let access = Access { token: None, names: vec!["backup.example.org".to_owned()] };
        let is_right = |host: &str| access.is_called_right(&headers(&[(HOST, host)]));
        for right in [
            "localhost",
            "LOCALHOST:9178",
            "127.0.0.1:9178",
            "[::1]:9178",
            "10.0.0.7",
            "backup.example.org.:80",
        ] {
            assert!(is_right(right), "{right}");
        }
        for wrong in
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "example.org", "a b"]
        {
            assert!(!is_right(wrong), "{wrong}");
        }
        assert!(!access.is_called_right(&headers(&[])));
        let mut twice = headers(&[(HOST, "localhost")]);
        twice.append(HOST, "evil.example".parse().unwrap());
        assert!(!access.is_called_right(&twice));
    }

    #[test]
    fn only_the_token_opens() {
        let access = Access { token: Some("hush-1".into()), names: Vec::new() };
        let is_allowed = |value: &str| access.is_allowed(&headers(&[(AUTHORIZATION, value)]));
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        assert!(is_allowed("Bearer hush-1") && is_allowed("bearer  hush-1"));
        assert!(is_allowed(&basic("me:hush-1")) && is_allowed(&basic(":hush-1")));
        for wrong in ["", "hush-1", "Bearer", "Bearer hush-2", "Bearer hush-11", "Basic %%", "Digest hush-1"]
        {
            assert!(!is_allowed(wrong), "{wrong}");
        }
        assert!(!is_allowed(&basic("hush-1")) && !is_allowed(&basic("me:other")));
        assert!(!access.is_allowed(&headers(&[])));
        assert!(!format!("{access:?}").contains("hush"));
    }
}
