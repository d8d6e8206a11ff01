use bytes::Bytes;
use std::ops::Bound;
use std::time::Instant;
use warren_storage::disk::*;
fn key(i: u64) -> Vec<u8> {
    let mut k = b"bucket0123456789/".to_vec();
    let h = i.wrapping_mul(0x9E3779B97F4A7C15);
    k.extend(format!("objects/{h:016x}.dat").bytes());
    k
}
fn rss() -> u64 {
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    s.lines()
        .find(|l| l.starts_with("VmRSS"))
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}
fn main() {
    let dir = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
    let n: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let rt = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    rt.block_on(async move {
        let t = Instant::now();
        let disk = Disk::open(DiskOptions {
            rows: dir.join("rows"),
            blocks: vec![],
            accept_loss: false,
        })
        .await
        .unwrap();
        println!("open {:?} rss {} {:?}", t.elapsed(), rss(), disk.status());
        let have = disk.status().rows.rows_about;
        if have < n {
            let t = Instant::now();
            for c in 0..(n / 1000) {
                let w = (0..1000)
                    .map(|i| RowWrite::Put {
                        key: key(c * 1000 + i),
                        summary: vec![7; 60],
                        value: Bytes::from(vec![9; 1024]),
                    })
                    .collect();
                disk.commit(w).await.unwrap();
            }
            println!("fill {} in {:?} rss {}", n, t.elapsed(), rss());
        }
        for workers in [1u64, 8, 32] {
            let per = 4000 / workers.min(4);
            let t = Instant::now();
            let hs: Vec<_> = (0..workers)
                .map(|w| {
                    let disk = disk.clone();
                    tokio::spawn(async move {
                        for i in 0..per {
                            let k = key(((w * per + i) * 7919) % n);
                            disk.commit(vec![RowWrite::Put {
                                key: k,
                                summary: vec![7; 60],
                                value: Bytes::from(vec![8; 1024]),
                            }])
                            .await
                            .unwrap();
                        }
                    })
                })
                .collect();
            for h in hs {
                h.await.unwrap();
            }
            println!(
                "put x{workers}: {:.0}/s",
                (per * workers) as f64 / t.elapsed().as_secs_f64()
            );
        }
        for round in 0..2 {
            let t = Instant::now();
            let m = 100_000u64;
            for i in 0..m {
                disk.row(&key((i * 104729) % n)).unwrap().unwrap();
            }
            println!(
                "get round {round}: {:.2} us",
                t.elapsed().as_secs_f64() * 1e6 / m as f64
            );
        }
        let t = Instant::now();
        let m = 1000u64;
        let mut total = 0;
        for i in 0..m {
            let from = key((i * 104729) % n);
            total += disk
                .scan(Bound::Included(&from), Bound::Unbounded)
                .take(1000)
                .map(|r| r.unwrap().summary.len())
                .sum::<usize>();
        }
        println!(
            "scan 1000: {:.1} us ({total})",
            t.elapsed().as_secs_f64() * 1e6 / m as f64
        );
        println!("rss {} {:?}", rss(), disk.status());
        if std::env::args().nth(3).is_some() {
            std::process::abort();
        }
        let t = Instant::now();
        disk.close().await.unwrap();
        println!("close {:?}", t.elapsed());
    });
}
