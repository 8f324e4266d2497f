//! `myriad ca`: the certificates with which the nodes of a cluster know each other.

use anyhow::{Context as _, Result};
use clap::Args;
use myriad_fabric::ca::ClusterCa;
use std::path::PathBuf;
use std::process::ExitCode;

/// Makes the cluster's authority, if the folder holds none yet, and a certificate for each node.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  myriad ca --directory certificates --node cell --node gateway-1
      makes certificates/ca.pem and ca-key.pem, and for each node NAME.pem and NAME-key.pem.
      A node needs ca.pem and its own two files; ca-key.pem is needed only here: keep it safe.")]
pub(crate) struct CaArgs {
    /// Folder for the certificates and keys.
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
    /// Name of a node (its node.name); repeatable.
    #[arg(long, value_name = "NAME")]
    node: Vec<String>,
}

/// Runs `myriad ca`.
pub(crate) fn run(args: &CaArgs) -> Result<ExitCode> {
    let directory = &args.directory;
    std::fs::create_dir_all(directory).with_context(|| format!("can't make {}", directory.display()))?;
    let ca = if directory.join("ca.pem").exists() {
        ClusterCa::load(directory)?
    } else {
        let ca = ClusterCa::create()?;
        ca.save(directory)?;
        println!(
            "made the cluster's authority: {}",
            directory.join("ca.pem").display()
        );
        ca
    };
    for node in &args.node {
        let (certificate, key) = (
            directory.join(format!("{node}.pem")),
            directory.join(format!("{node}-key.pem")),
        );
        ca.issue(node)?.save(&certificate, &key)?;
        println!("issued a certificate for {node}: {}", certificate.display());
    }
    Ok(ExitCode::SUCCESS)
}
