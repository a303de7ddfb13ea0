//! Broken variants of the module. Each has one fault of the kind that the debug
//! kernel is there to find; one that goes unreported says that the tests or the
//! kernel's checks are not what they should be.

use crate::kernel::{Kernel, run};
use crate::{boot, machine, module};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One variant: what is replaced, and what the kernel's log must say of it.
struct Broken {
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// All of these.
    reported: &'static [&'static str],
}

const ALL: [Broken; 6] = [
    Broken {
        name: "the device is not held while its own table closes it",
        file: "ops.c",
        from: "\tif (!r->pinned) {\n",
        to: "\tif (false) {\n",
        reported: &["KASAN: ", "esca_rs_run"],
    },
    Broken {
        name: "the walk reads one entry too many (Rust)",
        file: "src/walk.rs",
        from: "table.wrapping_add(n as usize)",
        to: "table.wrapping_add(n as usize + 1)",
        reported: &["KASAN: vmalloc-out-of-bounds in ", "esca_rs_run"],
    },
    Broken {
        name: "the buffer for small files is lost",
        file: "device.c",
        from: "\tkvfree(c->bounce);\n",
        to: "",
        // By its size: when that is looked for the module is unloaded, and its
        // addresses have no names.
        reported: &["unreferenced object", "(size 65536)"],
    },
    Broken {
        name: "freed twice where memory is short",
        file: "device.c",
        from: "\tkvfree(pages);\n\treturn -ENOMEM;\n",
        to: "\tkvfree(pages);\n\tc->pages = pages;\n\treturn -ENOMEM;\n",
        reported: &["KASAN: double-free in ", "esca_release"],
    },
    Broken {
        name: "a read-side section that does not end",
        file: "ops.c",
        from: "\t\trcu_read_unlock();\n",
        to: "",
        reported: &["esca_file", "rcu_read_lock"],
    },
    Broken {
        name: "sleeping with preemption off",
        file: "ops.c",
        from: "\tcond_resched();\n",
        to: "\tpreempt_disable();\n\tmight_sleep();\n\tpreempt_enable();\n",
        reported: &[
            "BUG: sleeping function called from invalid context",
            "esca_glue_pause",
        ],
    },
];

/// Runs those with the numbers, or all, also behind one that is not reported.
pub fn all(kernel: &Kernel, dir: &Path, words: &str, numbers: &[usize]) -> Result<()> {
    let root = dir.canonicalize()?.join("broken");
    let mut bad = Vec::new();
    for (number, broken) in (1..).zip(&ALL) {
        if !numbers.is_empty() && !numbers.contains(&number) {
            continue;
        }
        if let Err(e) = broken.reports(number, &root, kernel, dir, words) {
            eprintln!("esca-vm: broken variant {number}: {e:#}");
            bad.push(number.to_string());
        }
    }
    ensure!(
        bad.is_empty(),
        "broken variants not as wanted: {}",
        bad.join(", ")
    );
    Ok(())
}

impl Broken {
    /// Builds and runs it; an error unless it is reported as it has to be.
    fn reports(
        &self,
        number: usize,
        root: &Path,
        kernel: &Kernel,
        dir: &Path,
        words: &str,
    ) -> Result<()> {
        let place = root.join(number.to_string());
        let sources = self.sources(&place)?;
        let built = module::from(&sources, &place.join(&kernel.release), kernel)
            .with_context(|| format!("broken variant: {}", self.name))?;
        println!("broken variant: {}", self.name);
        let task = format!("debug,short,{number}");
        let run = boot(kernel, dir, Some(&built), words, &task, false);
        let log = machine::log(dir, &machine::name(kernel, words, &task));
        let said = fs::read(&log).with_context(|| format!("no log in {}", log.display()))?;
        let said = String::from_utf8_lossy(&said);
        let missing = self.reported.iter().find(|r| !said.contains(**r));
        match (run, missing) {
            (Err(_), None) => println!("  ok      reported: {}", self.reported[0]),
            (Ok(_), _) => bail!("not reported: {}", self.name),
            (Err(e), Some(missing)) => {
                return Err(e.context(format!("{}: reported, but not as '{missing}'", self.name)));
            }
        }
        Ok(())
    }

    /// A copy of the module's sources with the fault in it, laid out as for
    /// DKMS: the table's layout in `abi`.
    fn sources(&self, place: &Path) -> Result<PathBuf> {
        let to = place.join("kmod");
        fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
        run(Command::new("cp").args(["-r", "kmod/."]).arg(&to))?;
        run(Command::new("cp")
            .args(["-rT", "crates/abi/src"])
            .arg(to.join("abi")))?;
        let path = to.join(self.file);
        let text = fs::read_to_string(&path)?;
        ensure!(
            text.matches(self.from).count() == 1,
            "{} is not as {:?} in crates/vm/src/broken.rs wants it",
            self.file,
            self.name
        );
        fs::write(&path, text.replace(self.from, self.to))?;
        Ok(to)
    }
}
