"""Short documents of many kinds, for a model that tells what kind a document is."""

DOCUMENTS = {
    "python": '''import asyncio
from dataclasses import dataclass

@dataclass(frozen=True)
class Point:
    """A place on the plane."""
    x: float
    y: float

    def moved(self, by: "Point") -> "Point":
        return Point(self.x + by.x, self.y + by.y)

async def main() -> None:
    await asyncio.sleep(0.1)
    print(Point(1, 2).moved(Point(3, 4)))

if __name__ == "__main__":
    asyncio.run(main())
''',
    "html": """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Opening hours</title><link rel="stylesheet" href="site.css"></head>
<body><h1>Opening hours</h1><table><tr><th>Day</th><th>Hours</th></tr>
<tr><td>Monday</td><td>9 to 5</td></tr><tr><td>Tuesday</td><td>9 to 7</td></tr></table>
<p>Closed on <a href="/holidays">public holidays</a>.</p></body>
</html>
""",
    "sql": """CREATE TABLE orders (id BIGINT PRIMARY KEY, customer_id BIGINT NOT NULL, total NUMERIC(10, 2));
CREATE INDEX orders_by_customer ON orders (customer_id);
SELECT c.name, SUM(o.total) AS spent
FROM customers c JOIN orders o ON o.customer_id = c.id
WHERE o.created_at >= DATE '2024-01-01'
GROUP BY c.name HAVING SUM(o.total) > 100
ORDER BY spent DESC LIMIT 20;
""",
    "css": """:root { --accent: #0a6; }
body { margin: 0; font-family: system-ui, sans-serif; color: #222; }
nav ul { display: flex; list-style: none; gap: 1rem; padding: 0 1rem; }
.card { border: 1px solid #ccc; border-radius: 4px; box-shadow: 0 1px 3px rgba(0, 0, 0, 0.2); }
@media (max-width: 600px) { nav ul { flex-direction: column; } .card:hover { border-color: var(--accent); } }
""",
    "c": """#include <stdio.h>
#include <stdlib.h>

struct node { int value; struct node *next; };

static struct node *push(struct node *head, int value) {
    struct node *made = malloc(sizeof *made);
    if (!made) { perror("malloc"); exit(EXIT_FAILURE); }
    made->value = value;
    made->next = head;
    return made;
}

int main(void) {
    struct node *head = NULL;
    for (int i = 0; i < 10; i++) head = push(head, i * i);
    for (struct node *at = head; at; at = at->next) printf("%d\\n", at->value);
    return 0;
}
""",
    "shell": """#!/bin/bash
set -euo pipefail
backup_dir="${1:-/var/backups}"
mkdir -p "$backup_dir"
for table in orders customers; do
    echo "saving $table"
    pg_dump --table "$table" shop | gzip > "$backup_dir/$table-$(date +%F).sql.gz"
done
find "$backup_dir" -name '*.gz' -mtime +30 -delete
""",
    "yaml": """apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels:
    app: web
spec:
  replicas: 3
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
        - name: web
          image: example.org/web:1.2.3
          ports:
            - containerPort: 8080
""",
    "json": """{
  "name": "shop",
  "version": 3,
  "items": [
    {"id": 1, "title": "Tea", "price": 4.5, "tags": ["hot", "green"], "inStock": true},
    {"id": 2, "title": "Bread", "price": 3.2, "tags": [], "inStock": false}
  ],
  "next": null
}
""",
    "rust": """use std::collections::HashMap;

#[derive(Debug, Clone)]
struct Entry { key: String, count: usize }

fn count_words(text: &str) -> Vec<Entry> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in text.split_whitespace() { *counts.entry(word).or_insert(0) += 1; }
    let mut entries: Vec<Entry> = counts.into_iter().map(|(k, v)| Entry { key: k.to_string(), count: v }).collect();
    entries.sort_by(|a, b| b.count.cmp(&a.count));
    entries
}

fn main() { println!("{:?}", count_words("a b a")); }
""",
    "go": """package main

import (
	"fmt"
	"net/http"
)

type server struct{ hits int }

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.hits++
	fmt.Fprintf(w, "hello %s, visit %d\\n", r.URL.Path, s.hits)
}

func main() {
	if err := http.ListenAndServe(":8080", &server{}); err != nil {
		panic(err)
	}
}
""",
    "csv": "id,name,city,amount,date\n"
    + "".join(f"{n},customer {n},Town {n % 7},{n * 3.25:.2f},2024-01-{n % 28 + 1:02d}\n" for n in range(40)),
    "markdown": """# Getting started

Install the package, then run the **first** example:

```sh
make install
make example
```

- It reads `config.yaml`.
- It writes a [report](report.md).

## Questions

> Does it need a network?

No.
""",
    "ini": """[database]
host = localhost
port = 5432
user = shop

[cache]
enabled = true
ttl = 300
; comment
[logging]
level = info
file = /var/log/shop.log
""",
    "xml": """<?xml version="1.0" encoding="UTF-8"?>
<catalog xmlns="urn:example:catalog">
  <book id="b1"><author>Lind, A.</author><title>Rivers</title><price currency="EUR">12.50</price></book>
  <book id="b2"><author>Moro, C.</author><title>Bridges</title><price currency="EUR">9.00</price></book>
</catalog>
""",
}
