//! The server that all tools send to: our own, in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::workload::Amount;

/// The bucket that it has.
pub(crate) const BUCKET: &str = "bench";

/// A running server. It ends with its standard input, so also when this process dies.
pub(crate) struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    variables: Vec<(String, String)>,
}

impl Server {
    /// Starts one that throws data away, with its index in a folder of its own.
    pub(crate) fn start(program: &Path, folder: &Path, latency_ms: u64) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["--null", "--until-eof"]);
        if latency_ms > 0 {
            command.args(["--latency-ms", &latency_ms.to_string()]);
        }
        command.arg(folder).arg(BUCKET).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let (input, output) = child.stdin.take().zip(child.stdout.take()).context("a pipe is missing")?;
        let mut server = Self { child, input, output: BufReader::new(output), variables: Vec::new() };
        while server.variables.len() < 4 {
            let line = server.line()?;
            let (name, value) = line
                .strip_prefix("export ")
                .and_then(|line| line.split_once('='))
                .with_context(|| format!("the server did not start; it said `{line}`"))?;
            server.variables.push((name.to_owned(), value.to_owned()));
        }
        Ok(server)
    }

    /// Endpoint, credentials and region, as tools take them from their environment.
    pub(crate) fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    pub(crate) fn endpoint(&self) -> &str {
        let endpoint = self.variables.iter().find(|(name, _)| name == "AWS_ENDPOINT_URL");
        endpoint.map_or("", |(_, value)| value)
    }

    /// Ends it and gives what it holds, without control data of ours.
    pub(crate) fn stop(mut self) -> Result<Amount> {
        drop(self.input);
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the server failed ({status})");
        parse(&line).with_context(|| format!("the server said `{}` at its end", line.trim()))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

fn parse(line: &str) -> Option<Amount> {
    let number = |name: &str| {
        line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    Some(Amount { files: number("objects")?, bytes: number("bytes")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_tells_what_is_there() {
        let line = "# objects=2 bytes=300 requests=7\n";
        assert_eq!(parse(line), Some(Amount { files: 2, bytes: 300 }));
        assert_eq!(parse(""), None);
    }
}
