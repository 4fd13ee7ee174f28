//! `strongroom health`: for containers and scripts, where nothing else speaks HTTP.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::Failure;
use crate::client::plain;
use crate::output;
use crate::vault::trusting;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks a server or a vault whether it is well. Exit code 0 if it is, 4 if not.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// What to ask: a server has /readyz and /healthz, a vault /healthz
    #[arg(long, default_value = "http://127.0.0.1:7700/readyz", value_name = "URL")]
    url: reqwest::Url,
    /// The certificate to trust, for https
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Health {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let builder = match &self.ca {
            Some(file) => {
                let pem = std::fs::read_to_string(file).map_err(|error| Failure::Usage(format!("--ca {}: {error}", file.display())))?;
                trusting(file, &pem)?
            }
            None if self.url.scheme() == "https" => return Err(Failure::Usage("https needs --ca".into())),
            None => plain(),
        };
        let http = builder.timeout(TIMEOUT).build().map_err(|error| Failure::Failed(format!("no HTTP client: {error}")))?;
        let answer = http.get(self.url.clone()).send().await;
        match answer {
            Ok(answer) if answer.status().is_success() => output::print("ok"),
            Ok(answer) => Err(Failure::Unreachable(format!("{} answers {}", self.url, answer.status()))),
            Err(error) => Err(Failure::Unreachable(format!("{} does not answer: {}", self.url, error.without_url()))),
        }
    }
}
