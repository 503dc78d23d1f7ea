//! With which credentials a bucket is asked: what a person needs to recognise and renew them, and nothing secret.

use aws_credential_types::credential_feature::AwsCredentialFeature as Feature;
use aws_sdk_s3::config::Credentials;
use chrono::{DateTime, Utc};

/// How much of an access key's id is shown: enough to tell it from others.
const SHOWN: usize = 4;

/// Where credentials came from and how long they last. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Where they were found, in words that fit behind "from".
    pub source: &'static str,
    /// The last four characters of the access key's id.
    pub access_key_end: String,
    /// When they end, where that is known.
    pub expiry: Option<DateTime<Utc>>,
    /// Whether they belong to a session that ends, although it may not be known when.
    pub is_temporary: bool,
    /// Whether the source gives new ones before these end.
    pub is_renewed: bool,
}

impl Access {
    pub(crate) fn of(credentials: &Credentials) -> Self {
        let features = credentials.get_property::<Vec<Feature>>().map_or(&[][..], Vec::as_slice);
        let (source, is_renewed) = source_of(features);
        let id: Vec<char> = credentials.access_key_id().chars().collect();
        Self {
            source,
            access_key_end: id.iter().skip(id.len().saturating_sub(SHOWN)).collect(),
            expiry: credentials.expiry().map(DateTime::from),
            is_temporary: credentials.session_token().is_some(),
            is_renewed,
        }
    }
}

/// The source, and whether it is asked again before credentials end. Credentials of a role tell also whose credentials
/// asked for the role, so that the order counts.
fn source_of(features: &[Feature]) -> (&'static str, bool) {
    let has = |wanted: &[Feature]| features.iter().any(|feature| wanted.contains(feature));
    match () {
        () if has(&[Feature::CredentialsStsAssumeRole]) => ("a role that the profile names", true),
        () if has(&[
            Feature::CredentialsProfileStsWebIdToken,
            Feature::CredentialsEnvVarsStsWebIdToken,
            Feature::CredentialsStsAssumeRoleWebId,
        ]) =>
        {
            ("a web identity token", true)
        }
        () if has(&[Feature::CredentialsSso, Feature::CredentialsProfileSso]) => ("a login by SSO", true),
        () if has(&[Feature::CredentialsLogin, Feature::CredentialsProfileLogin]) => {
            ("a login at the console", true)
        }
        () if has(&[Feature::CredentialsProcess, Feature::CredentialsProfileProcess]) => {
            ("a program that the profile names", true)
        }
        () if has(&[Feature::CredentialsHttp]) => ("the container's credentials service", true),
        () if has(&[Feature::CredentialsImds]) => ("the role of this machine (IMDS)", true),
        () if has(&[Feature::CredentialsEnvVars]) => ("the environment", false),
        () if has(&[Feature::CredentialsProfile]) => ("the profile", false),
        () => ("the program itself", false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_the_source_and_shows_no_secret() {
        let mut credentials =
            Credentials::new("AKIAIOSFODNN7EXAMPLE", "hush", Some("session".to_owned()), None, "test");
        credentials.set_property(vec![Feature::CredentialsEnvVars]);
        let access = Access::of(&credentials);
        assert_eq!((access.source, &*access.access_key_end), ("the environment", "MPLE"));
        assert!(access.is_temporary && !access.is_renewed);
        let shown = format!("{access:?}");
        assert!(
            !shown.contains("hush") && !shown.contains("session\"") && !shown.contains("AKIA"),
            "{shown}"
        );
    }

    #[test]
    fn a_role_says_more_than_what_asked_for_it() {
        assert!(source_of(&[Feature::CredentialsProfile, Feature::CredentialsStsAssumeRole]).1);
        assert_eq!(source_of(&[Feature::CredentialsImds]).0, "the role of this machine (IMDS)");
        assert_eq!(source_of(&[]).0, "the program itself");
    }
}
