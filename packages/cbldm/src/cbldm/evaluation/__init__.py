"""How recoveries are judged: curves of clusters that are held out, methods that search for them, and measures."""
