//! `cargo xtask ci`: runs the checks and says how each went.

use anyhow::{Result, bail};

use crate::checks::{self, Check, Context};
use crate::process;

/// Runs the checks named, or all. A failing check does not keep the others from running.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let chosen = choose(names)?;
    let context = Context::new(process::workspace_root()?);
    let mut failed = Vec::new();
    for check in chosen {
        match (check.run)(&context) {
            Ok(findings) if findings.is_empty() => println!("ok    {}: {}", check.name, check.says),
            Ok(findings) => {
                println!("FAIL  {}: {} found; mend: {}", check.name, findings.len(), check.mend);
                for finding in findings {
                    println!("      {finding}");
                }
                failed.push(check.name);
            }
            Err(error) => {
                println!("FAIL  {}: {error:#}; mend: {}", check.name, check.mend);
                failed.push(check.name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn choose(names: &[String]) -> Result<Vec<&'static Check>> {
    if names.is_empty() {
        return Ok(checks::ALL.iter().collect());
    }
    let find = |name: &String| {
        checks::ALL.iter().find(|check| check.name == name).ok_or_else(|| {
            let known: Vec<_> = checks::ALL.iter().map(|check| check.name).collect();
            anyhow::anyhow!("there is no check `{name}`, only {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_chosen_by_name() {
        assert_eq!(choose(&[]).unwrap().len(), checks::ALL.len());
        assert_eq!(choose(&["deps".into()]).unwrap()[0].name, "deps");
        assert!(choose(&["dep".into()]).unwrap_err().to_string().contains("fmt, hygiene"));
    }
}
