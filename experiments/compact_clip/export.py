"""placeholder"""
def export(model, corpus, settings, history):
    return settings.output_dir
