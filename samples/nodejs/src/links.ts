export interface Link {
  id: string;
  url: string;
  visits: number;
}

/** The links of one server, kept in memory and numbered in the order in which they came. */
export class Links {
  private readonly byId = new Map<string, Link>();

  add(url: string): Link {
    const link = { id: (this.byId.size + 1).toString(36), url, visits: 0 };
    this.byId.set(link.id, link);
    return link;
  }

  all(): Link[] {
    return [...this.byId.values()];
  }

  /** The address that an id stands for, counted as a visit; undefined for an unknown id. */
  follow(id: string): string | undefined {
    const link = this.byId.get(id);
    if (link) link.visits += 1;
    return link?.url;
  }
}

/** The address as browsers write it, or undefined when it is not one that a browser may be sent to. */
export function webAddress(text: unknown): string | undefined {
  if (typeof text !== "string" || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  return ["http:", "https:"].includes(url.protocol) ? url.href : undefined;
}
