//! `shopctl work --shard N --rebuild`: makes the state of a shard's worker again after it was lost.
//!
//! Reads the tracking database, the shard's database, and the event, prepared and rejects files that are still there;
//! needs no running role, and none may change these meanwhile. The state is made in a file of its own and gets its name
//! when it is whole: a rebuild that was killed is begun again from nothing.

mod sources;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use self::sources::{Decided, PAGE, Sources};
use crate::base::boot::{Exit, Failure, say};
use crate::pipeline::event::{Kind, ShardId};
use crate::pipeline::files::artifact::{self, Lock};
use crate::pipeline::files::folder::Folder;
use crate::pipeline::ops::tracking::get_tracking;
use crate::pipeline::settings::Context;
use crate::pipeline::shard_db::store::open_shard;
use crate::pipeline::shard_db::{Census, ShardStore};
use crate::pipeline::task::FileName;
use crate::pipeline::work::Worker;
use crate::pipeline::work::rebuild::{Rebuild, Rebuilt};
use crate::pipeline::work::state::FinishedFile;

/// What SQLite keeps beside a database.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// Makes the state of this shard's worker again. `force` puts a state aside that is there.
///
/// # Errors
/// [`Failure`] when there is a state, or something is missing that it cannot be made without.
pub(crate) async fn run(ctx: &Context, shard: ShardId, force: bool) -> Result<Exit, Failure> {
    let folder = Folder::new(&ctx.settings.shared.dir);
    let state = Worker::own_state(&folder, shard)?;
    let Some(_held) = Worker::hold_state(&state, Lock::Exclusive)? else {
        return Err(Failure::new(format!("a worker of shard {shard} is running here: stop it, then rebuild")));
    };
    if state.exists() && !force {
        return Err(Failure::new(format!(
            "{} is there; --rebuild --force puts it aside and makes another",
            state.display()
        )));
    }
    let tracking = get_tracking(ctx).await?;
    let sources = Sources::read(tracking.as_ref(), shard, ctx.clock.now()).await;
    tracking.close().await;
    let mut sources = sources?;
    let making = beside(&state, ".rebuild");
    for suffix in ["", BESIDE[0], BESIDE[1]] {
        artifact::remove(&beside(&making, suffix))?;
    }
    let today = ctx.clock.now().day();
    let mut rebuild = Rebuild::begin(&making, shard, today)?;
    let url = ctx.settings.database.shard(shard).map_err(Failure::usage)?;
    let missing = sources.read_rejects(&folder, &mut rebuild)?;
    if url.embedded_exists() == Some(false) {
        sources.require_delivered(&BTreeSet::new())?;
        sources.read_prepared(&folder, &BTreeSet::new(), ctx, &mut rebuild)?;
    } else {
        let books = open_shard(&url, ctx.clock.clone()).await?;
        let read = read_books(books.as_ref(), &sources, &folder, ctx, &mut rebuild).await;
        books.close().await;
        read?;
    }
    note_finished(&sources, ctx, today, &mut rebuild)?;
    let rebuilt = rebuild.commit()?;
    let aside = publish(&making, &state, ctx)?;
    say(&summary(shard, &rebuilt, missing, aside.as_deref()))?;
    Ok(Exit::Ok)
}

/// Everything that the shard's database and the files beside it say.
async fn read_books(
    books: &dyn ShardStore,
    sources: &Sources,
    folder: &Folder,
    ctx: &Context,
    rebuild: &mut Rebuild,
) -> Result<(), Failure> {
    let Census { sent, .. } = books.census(sources.shard).await?;
    let delivered: BTreeSet<FileName> = sent.into_iter().map(|sent| sent.file).collect();
    sources.require_delivered(&delivered)?;
    let mut after = None;
    while let page = books.list_stock(after, PAGE).await?
        && let Some(last) = page.last()
    {
        after = Some((last.shop_id, last.good_id));
        page.iter().try_for_each(|item| rebuild.stock_item(item))?;
    }
    let mut after = None;
    while let page = books.list_orders(after, PAGE).await?
        && let Some(last) = page.last()
    {
        after = Some(last.order_id);
        page.iter().try_for_each(|order| rebuild.order(order))?;
    }
    sources.read_event_files(books, folder, ctx, rebuild).await?;
    sources.read_prepared(folder, &delivered, ctx, rebuild)?;
    let mut after = None;
    while let page = books.list_purchase_dates(after, PAGE).await?
        && let Some(last) = page.last()
    {
        after = Some(last.cursor);
        page.iter().try_for_each(|dated| rebuild.dated(Kind::Purchase, dated))?;
    }
    let mut after = None;
    while let page = books.list_return_dates(after, PAGE).await?
        && let Some(last) = page.last()
    {
        after = Some(last.cursor);
        page.iter().try_for_each(|dated| rebuild.dated(Kind::Return, dated))?;
    }
    if books.count_sent(sources.shard).await? == delivered.len() as u64 {
        return Ok(());
    }
    Err(Failure::new("files were delivered meanwhile: stop the mysql-sender, then rebuild again"))
}

/// The reports of the files that may be asked for again.
fn note_finished(sources: &Sources, ctx: &Context, today: i64, rebuild: &mut Rebuild) -> crate::base::db::Result<()> {
    let oldest = today - i64::from(ctx.settings.worker.key_retention_days);
    for Decided { file, at, input, counts, output, rejects } in &sources.decided {
        let day = at.day();
        if let (Some(input), Some(output)) = (input, output)
            && day >= oldest
        {
            let finished = FinishedFile { input: *input, counts: *counts, output: *output, rejects: *rejects };
            rebuild.finished(file, &finished, day)?;
        }
    }
    Ok(())
}

/// Gives the state its name; answers where the one is that had it.
fn publish(making: &Path, state: &Path, ctx: &Context) -> io::Result<Option<PathBuf>> {
    // The database was closed and no other process has it open, so it is one file.
    artifact::open(making)?.sync_all()?;
    let mut aside = None;
    if state.exists() {
        let name = free_name(state, FileName::of(ctx.clock.now()))?;
        // The database first: what is beside it belongs to it alone, and is of no use to another.
        artifact::relocate(state, &name)?;
        for suffix in BESIDE {
            match artifact::relocate(&beside(state, suffix), &beside(&name, suffix)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        aside = Some(name);
    }
    // What a lost state left beside it would be taken for a part of this one.
    for suffix in BESIDE {
        artifact::remove(&beside(state, suffix))?;
    }
    artifact::relocate(making, state)?;
    Ok(aside)
}

/// The name of a state that is put aside: the time, or the next second that no other state has.
fn free_name(state: &Path, mut time: FileName) -> io::Result<PathBuf> {
    loop {
        let name = beside(state, &format!(".{time}"));
        let is_free = ["", BESIDE[0], BESIDE[1]].iter().try_fold(true, |is_free, suffix| {
            artifact::is_there(&beside(&name, suffix)).map(|is_there| is_free && !is_there)
        })?;
        if is_free {
            return Ok(name);
        }
        time = time.next_second();
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn summary(shard: ShardId, rebuilt: &Rebuilt, missing: u64, aside: Option<&Path>) -> String {
    let Rebuilt { files, orders, refused, stock_items, keys, keys_without_content } = rebuilt;
    let mut text = format!(
        "shard {shard}: {files} decided files, {orders} orders, {refused} refused purchases, {stock_items} goods and shops, \
         {keys} keys; {keys_without_content} more keys without what was said under them\n"
    );
    if missing > 0 {
        text.push_str(&format!(
            "shard {shard}: {missing} rejected lines are gone: orders that were refused in them after their money was asked for are not known; \
             put the rejects files back and rebuild with --force\n"
        ));
    }
    if let Some(aside) = aside {
        text.push_str(&format!("shard {shard}: the former state is {}\n", aside.display()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_states_that_are_put_aside_in_one_second_have_two_names() {
        let folder = tempfile::tempdir().unwrap();
        let (state, time) = (folder.path().join("state.sqlite"), "20250101000000".parse::<FileName>().unwrap());
        let first = free_name(&state, time.clone()).unwrap();
        std::fs::write(&first, b"").unwrap();
        std::fs::write(folder.path().join("state.sqlite.20250101000001-wal"), b"").unwrap();
        assert_eq!(free_name(&state, time).unwrap(), folder.path().join("state.sqlite.20250101000002"));
    }
}
