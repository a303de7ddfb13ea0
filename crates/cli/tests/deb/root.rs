//! A clean Debian in a directory, run in namespaces of its own: with a first
//! process that does nothing, or with systemd.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

/// What the tests use in it; systemd and the servers with their units.
const PACKAGES: &str = "systemd,procps,iproute2,curl,strace,gcc,libc6-dev,pkgconf,adduser,kmod,\
    dkms,linux-headers-amd64,nginx-light,redis-server,lighttpd,memcached,haproxy";

/// Makes the namespaces, mounts what a system wants and becomes the first
/// process, "$2" with its arguments. "$1" is the root; BIND, if set, is shown
/// in it as /opt/bound; GROUP is its control group. Kernel settings cannot be
/// changed from inside.
const BOOT: &str = r#"
set -e
root=$1; shift
mount -t cgroup2 none "$root/mnt"
mkdir -p "$root/mnt/$GROUP"
echo $$ > "$root/mnt/$GROUP/cgroup.procs"
umount "$root/mnt"
export root
exec unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child sh -c '
set -e
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs dev
mkdir dev/shm dev/pts
for d in null zero full random urandom tty; do
    touch dev/$d
    mount --bind /dev/$d dev/$d
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
if [ -n "$BIND" ]; then
    mkdir -p opt/bound
    mount --bind "$BIND" opt/bound
fi
pivot_root . mnt
umount -l /mnt
ip link set lo up
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
' sh "$@"
"#;

/// Removes the control group once its processes are gone.
const FORGET: &str = r#"
mount -t cgroup2 none "$1/mnt"
for try in 1 2 3 4 5 6 7 8 9; do
    find "$1/mnt/$GROUP" -depth -type d -exec rmdir {} + 2>/dev/null
    [ -d "$1/mnt/$GROUP" ] || break
    sleep 0.2
done
"#;

/// What changes in any system: package lists, logs, caches.
const CHANGING: &[&str] = &[
    "dev/",
    "proc/",
    "run/",
    "sys/",
    "tmp/",
    "mnt/",
    "opt/bound",
    "var/cache/",
    "var/lib/dpkg/",
    "var/log/",
];

fn top() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    top.canonicalize().expect("the workspace")
}

/// A package that `make deb` wrote.
pub fn package(name: &str) -> PathBuf {
    let arch = if cfg!(target_arch = "x86_64") {
        "amd64"
    } else {
        "arm64"
    };
    let version = env!("CARGO_PKG_VERSION");
    let path = top().join(format!("target/debian/{name}_{version}-1_{arch}.deb"));
    assert!(path.is_file(), "{} is not there: make deb", path.display());
    path
}

fn done(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(status.success(), "{command:?}: {status}");
}

/// The directory with the clean system, made once: by the first test that
/// wants it, while the others wait.
static BASE: LazyLock<PathBuf> = LazyLock::new(|| {
    let base = top().join("target/deb/base");
    if !base.exists() {
        let part = top().join("target/deb/part");
        // What a run left that was ended.
        done(
            Command::new("rm")
                .args(["-rf", "--one-file-system"])
                .arg(&part),
        );
        std::fs::create_dir_all(&part).expect("a directory");
        let mut make = Command::new("debootstrap");
        make.args([
            "--variant=minbase",
            &format!("--include={PACKAGES}"),
            "bookworm",
        ])
        .arg(&part);
        done(
            make.args(std::env::var("DEBIAN_MIRROR").ok())
                .stdout(Stdio::null()),
        );
        std::fs::rename(&part, &base).expect("moved");
    }
    base
});

/// A copy of the clean system, running.
pub struct Root {
    dir: PathBuf,
    boot: Child,
    group: String,
    first: String,
}

impl Root {
    /// With a first process that only waits. `bound` is shown as /opt/bound.
    pub fn quiet(name: &str, bound: Option<&Path>) -> Root {
        Root::start(name, &["tail", "-f", "/dev/null"], bound)
    }

    /// With systemd.
    pub fn booted(name: &str) -> Root {
        let root = Root::start(name, &["/lib/systemd/systemd", "--system"], None);
        // Ends when systemd is up; "degraded" if some unit failed.
        root.run("until systemctl is-system-running --wait 2>/dev/null; [ $? != 1 ]; do :; done");
        root
    }

    fn start(name: &str, first: &[&str], bound: Option<&Path>) -> Root {
        let dir = top().join("target/deb").join(name);
        done(
            Command::new("rm")
                .args(["-rf", "--one-file-system"])
                .arg(&dir),
        );
        done(
            Command::new("cp")
                .arg("-a")
                .args([BASE.as_path(), dir.as_path()]),
        );
        let mut boot = Command::new("unshare");
        boot.args(["--mount", "--kill-child", "--fork", "sh", "-c", BOOT, "sh"])
            .arg(&dir)
            .args(first);
        let group = format!("esca-test-{name}-{}", std::process::id());
        boot.env("GROUP", &group)
            .env("BIND", bound.unwrap_or(Path::new("")))
            .stdin(Stdio::null());
        let log = std::fs::File::create(dir.with_extension("log")).expect("a log");
        boot.stderr(log.try_clone().expect("a log")).stdout(log);
        let mut boot = boot.spawn().expect("unshare");
        // The first process is there once it has its own name.
        let name = Path::new(first[0])
            .file_name()
            .expect("a name")
            .to_string_lossy();
        let first = loop {
            if let Some(status) = boot.try_wait().expect("a child") {
                let log = std::fs::read_to_string(dir.with_extension("log"));
                panic!("{status}: {}", log.unwrap_or_default());
            }
            match last(&boot.id().to_string()) {
                (pid, comm) if comm == name => break pid,
                _ => std::thread::yield_now(),
            }
        };
        Root {
            dir,
            boot,
            group,
            first,
        }
    }

    /// Puts a file of the host into /root.
    pub fn take(&self, file: &Path) {
        let to = self
            .dir
            .join("root")
            .join(file.file_name().expect("a name"));
        std::fs::copy(file, to).expect("copied");
    }

    /// Runs a script of bash in it: whether it succeeded, and what it said.
    pub fn run(&self, script: &str) -> (bool, String) {
        let mut c = Command::new("timeout");
        c.args([
            "300",
            "nsenter",
            "-t",
            &self.first,
            "-m",
            "-p",
            "-n",
            "-u",
            "-i",
            "-C",
            "--",
        ]);
        c.args([
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin",
            "HOME=/root",
        ]);
        c.args([
            "bash",
            "-e",
            "-c",
            &format!("exec 2>&1; cd /root; {script}"),
        ]);
        let out = c.stdin(Stdio::null()).output().expect("nsenter");
        (
            out.status.success(),
            String::from_utf8_lossy(&out.stdout).into_owned(),
        )
    }

    /// What a script says that succeeds.
    pub fn ok(&self, script: &str) -> String {
        let (good, said) = self.run(script);
        assert!(good, "{script}\n{said}");
        said
    }

    /// Every file, without those that change anyway.
    pub fn files(&self) -> BTreeSet<String> {
        let mut find = Command::new("find");
        let out = find
            .args([".", "-xdev", "-printf", "%P\n"])
            .current_dir(&self.dir)
            .output();
        let out = out.expect("find").stdout;
        let all = String::from_utf8_lossy(&out);
        let stays = |f: &&str| !CHANGING.iter().any(|c| f.starts_with(c));
        all.lines().filter(stays).map(Into::into).collect()
    }
}

/// The last process of the chain below `pid`, and its name.
fn last(pid: &str) -> (String, String) {
    let of = |pid: &str, what: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{what}"));
        text.unwrap_or_default().trim().to_string()
    };
    let mut at = pid.to_string();
    loop {
        let below = of(&at, &format!("task/{at}/children"));
        match below.split_whitespace().next() {
            // systemd has children of its own.
            Some(next) if of(&at, "comm") != "systemd" => at = next.into(),
            _ => return (at.clone(), of(&at, "comm")),
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Its first process goes with it, and with that all of them.
        let _ = self.boot.kill();
        let _ = self.boot.wait();
        let mut forget = Command::new("unshare");
        forget
            .args(["--mount", "sh", "-c", FORGET, "sh"])
            .arg(&self.dir);
        let _ = forget.env("GROUP", &self.group).status();
        let _ = Command::new("rm")
            .args(["-rf", "--one-file-system"])
            .arg(&self.dir)
            .status();
    }
}
